// Package image makes images and brings them to where pods can use them: it
// builds with the engine's BuildKit, has missing ones pulled, and loads into
// cluster nodes only the layers they lack. It never decides which images a
// project needs and never touches a Kubernetes object.
package image
