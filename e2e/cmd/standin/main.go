// Standin runs the stand-in homeserver by itself, for trying a bot against a slow or strict server by hand.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"starling/e2e/standin"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8008", "address to serve on")
	bot := flag.String("bot", "starling", "name and password of the bot's account")
	rooms := flag.Int("rooms", 3, "rooms into which the bot is invited, by @ana:"+standin.Name)
	var options standin.Options
	flag.DurationVar(&options.Delay, "delay", 0, "how long every call takes, e.g. 20ms")
	flag.Float64Var(&options.Limit.Rate, "rate", 0, "sends a second that an account may make (Synapse: 0.2); 0 = any")
	flag.IntVar(&options.Limit.Burst, "burst", 10, "sends that it may make at once")
	flag.Parse()

	server := standin.New(options)
	url, stop, err := server.Listen(*listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
	const ana = "@ana:" + standin.Name
	user := server.Account(*bot, *bot)
	for i := range *rooms {
		server.Membership(server.Room(fmt.Sprint("Room ", i+1), map[string]int{ana: 100}), ana, user, "invite")
	}
	fmt.Printf("%s on %s; Ctrl-C ends it\n", user, url)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	<-ctx.Done()
	_ = stop() // it says that it was closed
	stats := server.Stats()
	fmt.Printf("\ncalls %v, repeated %d, limited %d, unknown %v\n", stats.Calls, stats.Repeated, stats.Limited, stats.Unknown)
}
