//go:build !go1.26 || go1.28

package host

// durable is not known of this version of Go: nothing runs in virtual time here.
const durable = 0
