//go:build !linux

package dbtest

import "syscall"

func orphaned(*syscall.SysProcAttr) {}
