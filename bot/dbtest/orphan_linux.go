package dbtest

import "syscall"

// orphaned lets a server not outlive the tests that are killed.
func orphaned(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
