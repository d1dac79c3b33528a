// Package page serves a started workshop to browsers on this machine: the
// learners' pages and the instructor's. HTML is made here; a small script adds
// what HTML cannot. Whoever has the token in a page's address may use it, so
// requests of other sites and under other host names are refused.
package page
