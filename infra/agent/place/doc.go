// Package place puts files into a volume of a pod exactly as a compose file
// asks for them: with an owner, a group and a mode of their own, which volumes
// of Kubernetes do not have.
package place
