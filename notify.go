package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// systemd speaks sd_notify to the program that supervises the bot, where there is one (`Type=notify`, WatchdogSec=): that it is
// ready, and then that it lives, as long as it answers how it is.
func systemd(ctx context.Context, lives func(context.Context) error) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	tell := func(state string) {
		if socket[0] == '@' {
			socket = "\x00" + socket[1:]
		}
		c, err := net.Dial("unixgram", socket)
		if err != nil {
			return // nobody listens, and nothing depends on it here
		}
		defer c.Close()
		_, _ = c.Write([]byte(state))
	}
	tell("READY=1")
	micros, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || micros <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		<-ctx.Done()
		tell("STOPPING=1")
		return
	}
	half := time.Duration(micros) * time.Microsecond / 2
	tick := time.NewTicker(half)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, half)
		if lives(asking) == nil {
			tell("WATCHDOG=1")
		}
		cancel()
		select {
		case <-ctx.Done():
			tell("STOPPING=1")
			return
		case <-tick.C:
		}
	}
}
