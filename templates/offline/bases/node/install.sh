set -eu
groupadd --gid 1000 node
useradd --uid 1000 --gid node --shell /bin/bash --create-home node
if ! command -v node >/dev/null; then
	echo "the npm registry was not reached: this is Debian's Node.js"
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nodejs npm
fi
node --version
npm --version
