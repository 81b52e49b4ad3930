//go:build go1.26 && !go1.27

package host

// durable is runtime.waitReasonSynctestSelect in this version of Go: a goroutine
// of a bubble that waits for this reason does not hold virtual time still.
const durable = 44
