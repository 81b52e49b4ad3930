//go:build go1.27 && !go1.28

package host

// durable is runtime.waitReasonSynctestSelect in this version of Go: a goroutine
// of a bubble that waits for this reason does not hold virtual time still.
const durable = 44
