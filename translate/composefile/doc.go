// Package composefile reads a compose project: it finds the files the way
// docker compose does, loads them with compose-go, checks that they are
// consistent, and returns what package translate needs. It is the only reader
// of compose, env, config and secret files. It never writes a file, runs a
// program, opens a connection or looks at the process environment: that is
// handed in.
package composefile
