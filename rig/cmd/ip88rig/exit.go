package main

import (
	"fmt"

	"ip88rig/rig/report"
)

// exitError ends the command with a code and, if it has one, a message.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// usage is an error of the command line or the bench file.
func usage(format string, args ...any) error {
	return exitError{report.ExitUsage, fmt.Errorf(format, args...)}
}
