package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"starling/e2e/lab"
)

// BenchmarkSignalRelay measures how long an alert takes from the ✅ that confirms it to the last of the Signal groups that follow. Beside
// it, in turn and on the same signal-cli: a program that does nothing but send the same text to the same groups, all at once, and one
// after another. With -short it only shows that it runs.
func BenchmarkSignalRelay(b *testing.B) {
	sizes, runs := []int{1, 10, 20}, runs
	if testing.Short() {
		sizes, runs = []int{1, 2}, 2
	}
	signal := lab.StartSignal(b)
	phone, ana := signal.Join(b, "starling"), signal.Join(b, "ana")
	daemon := signal.StartDaemon(b, phone)
	friends := friends(b, signal, sizes[len(sizes)-1]+1)
	starling, err := lab.SetUpStarling(b.TempDir(), lab.BotConfig{Level: "warn", More: daemon.Config(fmt.Sprintf("address = %q\n", "unix:"+daemon.Socket), friends...)})
	if err != nil {
		b.Fatal(err)
	}
	starling.Run(b)
	w := &signalRelay{ana: ana, starling: starling}
	w.origin, w.groups = chapters(b, ana, phone, friends, 0)
	peer := newSignalSender(b, daemon)
	for _, size := range sizes {
		for len(w.groups) < size {
			w.groups = append(w.groups, oneMore(b, ana, phone, friends, len(w.groups)))
		}
		b.Run(fmt.Sprintf("groups=%d", size), func(b *testing.B) {
			var relay, parallel, serial []time.Duration
			for run := range runs * b.N {
				took, said := w.relay(b, run)
				relay = append(relay, took)
				parallel = append(parallel, w.heard(b, func() { peer.send(b, w.groups, said, len(w.groups)) }, said.Original))
				if run < 3 {
					serial = append(serial, w.heard(b, func() { peer.send(b, w.groups, said, 1) }, said.Original))
				}
			}
			b.ReportMetric(0, "ns/op")
			row(size, ms(median(relay)), ms(float64(slices.Max(relay))/1e6), ms(median(parallel)), ms(median(serial)))
			b.ReportMetric(median(relay), "ms")
			b.ReportMetric(float64(slices.Max(relay))/1e6, "ms-slowest")
			b.ReportMetric(median(parallel), "ms-all-at-once")
			b.ReportMetric(median(serial), "ms-serial")
		})
	}
}

// signalRelay is a bot with the groups that hear of each alert.
type signalRelay struct {
	ana      *lab.Phone
	starling *lab.Starling
	origin   string
	groups   []string
}

// relay raises an alert and gives how long it took from its ✅ to the last group, and what is heard there.
func (w *signalRelay) relay(b *testing.B, run int) (took time.Duration, said lab.Heard) {
	b.Helper()
	text := fmt.Sprintf("police at the social centre, number %d", run)
	preview := tells(w.ana, w.origin, "/alert now: "+text, "✅")
	w.settle(b)
	mark := w.ana.Mark()
	took = w.heard(b, func() { w.ana.React(w.origin, preview, "✅") }, text)
	w.settle(b)
	return took, w.ana.Wait(lab.Hears{Group: w.groups[0], After: mark, Contains: []string{text}})
}

// settle waits until nothing moves in the bot; what is for later may wait.
func (w *signalRelay) settle(b *testing.B) {
	b.Helper()
	w.starling.WaitStatus(b, "nothing moves", func(st lab.BotStatus) bool { return st.Inbox+st.Ready+st.Sending+st.Jobs == 0 })
}

// heard gives how long it took from what is done to the last group hearing a text.
func (w *signalRelay) heard(b *testing.B, do func(), text string) time.Duration {
	b.Helper()
	mark := w.ana.Mark()
	start := time.Now()
	do()
	var last time.Time
	for _, g := range w.groups {
		h := w.ana.Wait(lab.Hears{Group: g, After: mark, Contains: []string{text}})
		if at := time.UnixMilli(h.At); at.After(last) {
			last = at
		}
	}
	return last.Sub(start)
}

// signalSender is a program that does nothing but send, over a connection of its own.
type signalSender struct {
	account string
	conn    net.Conn
	answers chan json.RawMessage // errors
}

func newSignalSender(b *testing.B, daemon *lab.SignalDaemon) *signalSender {
	b.Helper()
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "unix", daemon.Socket)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	s := &signalSender{account: daemon.Number, conn: conn, answers: make(chan json.RawMessage)}
	go func() {
		defer close(s.answers)
		for lines := json.NewDecoder(conn); ; {
			var line struct {
				Method string
				Error  json.RawMessage
			}
			if lines.Decode(&line) != nil {
				return
			}
			if line.Method == "" { // else it is told what is received, as all are
				s.answers <- line.Error
			}
		}
	}()
	return s
}

// send says a text in all groups, so many calls at once: signal-cli works side by side on what stands on one connection.
func (s *signalSender) send(b *testing.B, groups []string, said lab.Heard, atOnce int) {
	b.Helper()
	styles := []string{}
	for _, style := range said.Styles {
		styles = append(styles, fmt.Sprintf("%d:%d:%s", style.Start, style.Length, style.Style))
	}
	for i := range len(groups) + atOnce {
		if i >= atOnce {
			if failed, ok := <-s.answers; !ok || failed != nil {
				b.Fatalf("signal-cli answers %s", failed)
			}
		}
		if i < len(groups) {
			if err := json.NewEncoder(s.conn).Encode(map[string]any{"jsonrpc": "2.0", "id": groups[i], "method": "send", "params": map[string]any{
				"account": s.account, "groupId": groups[i], "message": said.Original, "textStyle": styles,
			}}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
