//go:build !linux

package lab

import "syscall"

// attributes puts a child into a group of its own, so that Ctrl-C reaches only us and we end it in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
