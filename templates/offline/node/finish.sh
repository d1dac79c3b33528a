# Runs in the container that becomes the node image, when all files are there.
set -eu
chmod 755 /kind /kind/bin /kind/bin/* /usr/local/bin/* /opt/cni/bin/*
mkdir -p /etc/kubernetes/manifests /kind/manifests /LICENSES
for unit in kubelet.service containerd.service undo-mount-hacks.service; do systemctl enable "$unit"; done
systemctl mask systemd-binfmt.service

# The base of every container's settings: no limits of its own, and the
# product files of the host hidden.
ctr oci spec |
	jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {"path": "/kind/bin/mount-product-files.sh"}' |
	jq 'del(.process.rlimits)' >/etc/containerd/cri-base.json
