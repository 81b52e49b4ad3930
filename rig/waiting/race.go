//go:build race

package waiting

const race = true
