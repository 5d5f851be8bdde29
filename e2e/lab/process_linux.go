package lab

import "syscall"

// attributes puts a child into a group of its own, so that Ctrl-C reaches only us and we end it in order, and has
// the kernel kill it should we die without having done so.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
