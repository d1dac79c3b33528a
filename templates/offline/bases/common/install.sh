# Runs in the container that becomes a stand-in, before its own install.sh:
# users with the numbers of the real image, packages, authorities.
set -eu
export DEBIAN_FRONTEND=noninteractive
update-ca-certificates >/dev/null
for u in $USERS; do
	groupadd --system --gid "${u#*:}" "${u%:*}"
	useradd --system --gid "${u%:*}" --uid "${u#*:}" --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "${u%:*}"
done
if [ -n "$PACKAGES" ]; then
	# Services must not start while their package is configured, and a
	# database is not made before its container runs.
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	mkdir -p /etc/postgresql-common
	echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
	apt-get update -q
	# shellcheck disable=SC2086 # a list of names
	apt-get install -q -y --no-install-recommends $PACKAGES
	rm -f /usr/sbin/policy-rc.d
fi
if [ -n "$APK" ] && command -v busybox >/dev/null; then
	# The small tools of Alpine that this Debian has not got.
	for tool in $(busybox --list); do
		command -v "$tool" >/dev/null || ln -s "$(command -v busybox)" "/usr/local/bin/$tool"
	done
fi
