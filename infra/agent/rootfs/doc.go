// Package rootfs writes files into running containers from their node: no
// shell, no tar and no right of the image's user is needed. Every path is
// resolved by the kernel inside the container's root, so that no symlink of an
// image leads out of it; what is outside must never be touched.
package rootfs
