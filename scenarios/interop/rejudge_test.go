//go:build linux && interop

package interop

import "testing"

func judgeRun(t *testing.T, bin, dir string)     {}
func judgeChanged(t *testing.T, bin, dir string) {}
func judgeDefective(t *testing.T, bin string)    {}
func killed(t *testing.T, bin string)            {}
func interrupted(t *testing.T, bin string)       {}
