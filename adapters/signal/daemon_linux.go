package signal

import "syscall"

// orphanless lets signal-cli end with the bot, however that ends: a second one on the same data would wait for the first.
func orphanless() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
