// Package archtest holds the import table of ARCHITECTURE.md as a test. It has
// no code of its own and nothing imports it.
package archtest
