# Runs in the container that becomes the node image: imports the archive on
# standard input into containerd's store, without unpacking.
set -eu
containerd --log-level warn >/tmp/containerd.log 2>&1 &
pid=$!
tries=0
until ctr version >/dev/null 2>&1; do
	tries=$((tries + 1))
	if [ $tries -gt 150 ] || ! kill -0 $pid 2>/dev/null; then
		cat /tmp/containerd.log >&2
		exit 1
	fi
	sleep 0.2
done
ctr -n k8s.io images import --label=io.cri-containerd.pinned=pinned --all-platforms --no-unpack --digests -
ctr -n k8s.io images list -q | grep -v '@sha256:' | sort
kill $pid
wait $pid || true
rm -rf /tmp/containerd.log /run/containerd
