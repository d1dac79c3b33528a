// Package devloop decides what to do and gets it done: desired and observed
// state go through Decide into a plan, the plan is executed, once for `up` and
// for ever for `dev`.
//
// It knows Docker and the cluster only through the interfaces in deps.go and
// must never import an infra package other than the leaves. Decide touches
// nothing. One goroutine owns the loop's state. It prints nothing: it reports
// to a progress.Sink and, in the loop, sends typed Events.
package devloop
