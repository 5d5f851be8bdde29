//go:build !linux

package signal

import "syscall"

func orphanless() *syscall.SysProcAttr { return nil }
