package signal

import "syscall"

// orphanless lets signal-cli end with the bot, however that ends: a second one on the same data would wait for the first. It is not
// asked to: when who was attached has gone while it told something, it can lock itself up for good.
func orphanless() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
