# Runs in the node's base: prints an archive of the few commands that programs
# of the pod network and the volume helper call, with the libraries they load.
set -eu
root=$(mktemp -d)
add() {
	for f; do
		case $f in
		*-vdso*|linux-gate*) continue ;;
		esac
		mkdir -p "$root$(dirname "$f")"
		cp -a --parents "$f" "$root" 2>/dev/null || cp -a "$f" "$root$f"
		if [ -L "$f" ]; then
			target=$(readlink -f "$f")
			[ -e "$root$target" ] || add "$target"
		fi
	done
}
for l in bin sbin lib lib64; do ln -s "usr/$l" "$root/$l"; done
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/tmp" "$root/run" "$root/etc" "$root/var" "$root/proc" "$root/sys" "$root/dev"
ln -s /run "$root/var/run"
chmod 1777 "$root/tmp"
programs='/usr/bin/dash /usr/bin/mkdir /usr/bin/rm /usr/bin/chmod /usr/bin/chown /usr/bin/cat /usr/bin/ls /usr/bin/ln /usr/bin/sleep
/usr/bin/true /usr/bin/mv /usr/bin/cp /usr/bin/tar /usr/bin/kmod /usr/bin/ip /usr/sbin/nft /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi
/usr/sbin/conntrack /usr/sbin/ethtool'
libs=$(find /usr/lib -path '*/xtables/*.so')
for f in $programs $libs; do
	add "$f"
	for l in $(ldd "$f" 2>/dev/null | grep -oE '/[^ ]+'); do
		add "$(echo "$l" | sed -E 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#')"
	done
done
ln -s dash "$root/usr/bin/sh"
ln -s ../bin/kmod "$root/usr/sbin/modprobe"
for f in iptables ip6tables iptables-save ip6tables-save iptables-restore ip6tables-restore; do
	ln -s iptables-choose "$root/usr/sbin/$f"
done
cat >"$root/usr/sbin/iptables-choose" <<'SCRIPT'
#!/bin/sh
# Uses the backend in which the node's kubelet has left its mark.
name=${0##*/}
if /usr/sbin/xtables-legacy-multi iptables -t mangle -n -L KUBE-IPTABLES-HINT >/dev/null 2>&1; then
	exec /usr/sbin/xtables-legacy-multi "$name" "$@"
fi
exec /usr/sbin/xtables-nft-multi "$name" "$@"
SCRIPT
chmod 755 "$root/usr/sbin/iptables-choose"
cp -a /etc/protocols /etc/services "$root/etc/" 2>/dev/null || true
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - .
rm -rf "$root"
