package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

const (
	perCall = 20 * time.Millisecond // what every call to the stand-in takes
	runs    = 11                    // of which the median is reported
	ana     = "@ana:" + standin.Name
	botUser = "starling"
)

// world is the real bot on a stand-in homeserver.
type world struct {
	b      testing.TB
	ctx    context.Context
	server *standin.Server
	url    string
	stop   func() error // the server's listening
	bot    *lab.Starling
	id     string // the bot's
}

func newWorld(b testing.TB, options standin.Options) *world {
	b.Helper()
	w := &world{b: b, ctx: b.Context(), server: standin.New(options), id: "@" + botUser + ":" + standin.Name}
	w.listen("")
	b.Cleanup(func() { _ = w.stop() }) // it says that it was closed
	w.server.Account(botUser, botUser)
	return w
}

func (w *world) listen(address string) {
	w.b.Helper()
	var err error
	if w.url, w.stop, err = w.server.Listen(address); err != nil {
		w.b.Fatal(err)
	}
}

// start logs the bot in, runs it, and returns when it has taken up its rooms: what is said earlier it does not answer.
func (w *world) start(rooms int) {
	w.b.Helper()
	config := lab.BotConfig{URL: w.url, User: w.id, Password: botUser, Invite: []string{ana}}
	if _, measured := w.b.(*testing.B); measured {
		config.Level = "warn"
	}
	var err error
	if w.bot, err = lab.NewStarling(w.ctx, w.b.TempDir(), config); err != nil {
		w.b.Fatal(err)
	}
	w.bot.Run(w.b)
	w.b.Cleanup(func() { lab.Remember(w.server.Private(w.id)) }) // before its log is searched
	w.until(func(st lab.BotStatus) bool { return st.Rooms == rooms })
}

// command lets ana say a command and returns what the bot answers to it.
func (w *world) command(room, text string) (standin.Event, error) {
	ctx, cancel := context.WithTimeout(w.ctx, lab.Patience)
	defer cancel()
	return w.answer(ctx, room, w.server.Say(room, ana, text))
}

// answer waits for the bot's reply to an event.
func (w *world) answer(ctx context.Context, room, to string) (standin.Event, error) {
	return w.server.Wait(ctx, room, func(e standin.Event) bool {
		relation, _ := e.Content["m.relates_to"].(map[string]any)
		reply, _ := relation["m.in_reply_to"].(map[string]any)
		return e.Sender == w.id && e.Type == "m.room.message" && reply["event_id"] == to
	})
}

// settle waits until nothing moves in the bot; what is for later may wait.
func (w *world) settle() {
	w.b.Helper()
	w.until(func(st lab.BotStatus) bool { return st.Inbox+st.Ready+st.Sending+st.Jobs == 0 })
}

func (w *world) until(wanted func(lab.BotStatus) bool) {
	w.b.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, lab.Patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := w.bot.Status(ctx)
		if err != nil {
			w.b.Fatal(err)
		}
		if wanted(st) {
			return
		}
		<-tick.C
	}
}

// positions notes when the bot asks for what is new: it does so when all that it was told before is stored.
type positions struct {
	mu    sync.Mutex
	asked []time.Time
}

func (p *positions) note(c standin.Call) standin.Fault {
	if c.Op == "sync" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, time.Now())
	}
	return standin.Fault{}
}

// after is the first time at which the bot asked after a moment.
func (p *positions) after(moment time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.asked {
		if at.After(moment) {
			return at
		}
	}
	return moment
}

// row prints what goes into a table of BENCHMARKS.md.
func row(cells ...any) {
	for _, c := range cells {
		fmt.Printf("| %v ", c)
	}
	fmt.Println("|")
}

func ms(n float64) string { return fmt.Sprintf("%.0f ms", n) }

// BenchmarkRelay measures how long an alert takes from the ✅ that confirms it to the last of the rooms that follow, and how long
// of that is after the ✅ was stored. Beside it, on the same server: a relay that sends one message after the other, as the usual
// ones do, and nothing but all calls at once, which no relay can beat. With -short it only shows that it runs.
func BenchmarkRelay(b *testing.B) {
	sizes, runs := []int{1, 10, 50, 200}, runs
	if testing.Short() {
		sizes, runs = []int{1, 3}, 2
	}
	var asked positions
	w := newWorld(b, standin.Options{Delay: perCall, Fault: asked.note})
	peer := w.server.Account("peer", "peer")
	var origins, followers []string
	for range sizes {
		origins = append(origins, w.server.Room("", map[string]int{ana: 100, w.id: 0}))
	}
	for range sizes[len(sizes)-1] {
		followers = append(followers, w.server.Room("", map[string]int{ana: 100, w.id: 0, peer: 0}))
	}
	w.start(len(origins) + len(followers))
	for i, origin := range origins {
		for _, text := range []string{"/room language en", fmt.Sprintf("/room name Origin %d", sizes[i]), "/room alerts anyone", "/relay open on"} {
			if _, err := w.command(origin, text); err != nil {
				b.Fatalf("%s: %v", text, err)
			}
		}
	}
	langs := []string{"en", "es", "fr", "pt", "de", "ar", "ku"}
	var group sync.WaitGroup
	for n, room := range followers {
		group.Go(func() {
			texts := []string{"/room language " + langs[n%len(langs)], fmt.Sprintf("/room name Follower %d", n)}
			for _, size := range sizes {
				if n < size {
					texts = append(texts, fmt.Sprintf("/relay follow Origin %d", size))
				}
			}
			for _, text := range texts {
				if _, err := w.command(room, text); err != nil {
					b.Errorf("%s: %v", text, err)
				}
			}
		})
	}
	group.Wait()
	bare := newSender(b, w, peer)
	for i, size := range sizes {
		b.Run(fmt.Sprintf("rooms=%d", size), func(b *testing.B) {
			var relay, stored, serial, parallel []time.Duration
			for run := range runs * b.N {
				start, last := w.relay(b, origins[i], followers[:size], run)
				relay, stored = append(relay, last.Sub(start)), append(stored, last.Sub(asked.after(start)))
				parallel = append(parallel, bare.parallel(b, followers[:size]))
				if run < 3 {
					serial = append(serial, bare.serial(b, followers[:size]))
				}
			}
			b.ReportMetric(0, "ns/op")
			row(size, ms(median(relay)), ms(float64(slices.Max(relay))/1e6), ms(median(stored)), ms(median(parallel)), ms(median(serial)))
			b.ReportMetric(median(relay), "ms")
			b.ReportMetric(median(stored), "ms-after-stored")
			b.ReportMetric(float64(slices.Max(relay))/1e6, "ms-slowest")
			b.ReportMetric(median(serial), "ms-serial")
			b.ReportMetric(median(parallel), "ms-all-at-once")
		})
	}
}

// relay raises an alert and gives when it was confirmed and when it arrived in the last room.
func (w *world) relay(b *testing.B, origin string, rooms []string, run int) (start, last time.Time) {
	b.Helper()
	text := fmt.Sprintf("police at the social centre, number %d", run)
	preview, err := w.command(origin, "/alert now: "+text)
	if err != nil {
		b.Fatal(err)
	}
	w.settle()
	start = time.Now()
	w.server.React(origin, ana, preview.ID, "✅")
	ctx, cancel := context.WithTimeout(w.ctx, lab.Patience)
	defer cancel()
	for _, room := range rooms {
		e, err := w.server.Wait(ctx, room, func(e standin.Event) bool {
			return e.Sender == w.id && e.At.After(start) && strings.Contains(e.Text(), text)
		})
		if err != nil {
			b.Fatal(err)
		}
		if e.At.After(last) {
			last = e.At
		}
	}
	w.settle()
	return start, last
}

// sender is a program that does nothing but send.
type sender struct {
	client *http.Client
	url    string
	token  string
	number int
}

func newSender(b *testing.B, w *world, user string) *sender {
	b.Helper()
	s := &sender{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}, url: w.url}
	login := fmt.Sprintf(`{"type":"m.login.password","identifier":{"type":"m.id.user","user":%q},"password":"peer"}`, user)
	res, err := s.client.Post(w.url+"/_matrix/client/v3/login", "application/json", strings.NewReader(login))
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	var session struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&session); err != nil || session.Token == "" {
		b.Fatalf("the peer cannot log in: %s %v", res.Status, err)
	}
	s.token = session.Token
	return s
}

func (s *sender) send(b *testing.B, room string, number int) {
	req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/_matrix/client/v3/rooms/%s/send/m.room.message/peer%d", s.url, room, number),
		strings.NewReader(`{"msgtype":"m.text","body":"police at the social centre"}`))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		b.Errorf("%s %v", res.Status, err)
	}
}

func (s *sender) serial(b *testing.B, rooms []string) time.Duration {
	start := time.Now()
	for _, room := range rooms {
		s.number++
		s.send(b, room, s.number)
	}
	return time.Since(start)
}

func (s *sender) parallel(b *testing.B, rooms []string) time.Duration {
	start := time.Now()
	var group sync.WaitGroup
	for _, room := range rooms {
		s.number++
		number := s.number
		group.Go(func() { s.send(b, room, number) })
	}
	group.Wait()
	return time.Since(start)
}

// median is in milliseconds.
func median(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2]) / 1e6
}

// BenchmarkMemory measures the memory that the bot holds with few and with many rooms of five people, each of which has
// just been helped once, and how long that help took. What a room costs is the difference to the fewest. With -short it only
// shows that it runs.
func BenchmarkMemory(b *testing.B) {
	sizes := []int{10, 100, 1000, 5000}
	if testing.Short() {
		sizes = []int{2, 4}
	}
	var least int64
	for _, rooms := range sizes {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			var octets int64
			var took []time.Duration
			for range b.N {
				octets, took = memory(b, rooms)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(octets)/1e6, "MB")
			b.ReportMetric(median(took), "ms/answer")
			each := ""
			if rooms == sizes[0] {
				least = octets
			} else {
				kB := float64(octets-least) / float64(rooms-sizes[0]) / 1e3
				b.ReportMetric(kB, "kB/room")
				each = fmt.Sprintf("%.1f kB", kB)
			}
			row(rooms, fmt.Sprintf("%.1f MB", float64(octets)/1e6), each, fmt.Sprintf("%.1f ms", median(took)))
		})
	}
}

func memory(b *testing.B, rooms int) (octets int64, took []time.Duration) {
	b.Helper()
	w := newWorld(b, standin.Options{})
	var all []string
	for n := range rooms {
		members := map[string]int{ana: 100, w.id: 0}
		for p := range 3 {
			members[fmt.Sprintf("@person%d:%s", n*3+p, standin.Name)] = 0
		}
		all = append(all, w.server.Room(fmt.Sprintf("Room %d", n), members))
	}
	w.start(rooms)
	for _, room := range all {
		start := time.Now()
		if _, err := w.command(room, "/starling"); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	w.bot.WaitIdle(b)
	return w.rest(), took
}

// rest waits until the bot gives back no more memory, and says what it holds then.
func (w *world) rest() int64 {
	w.b.Helper()
	still := 30 * time.Second
	if testing.Short() {
		still = time.Second
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var least int64
	for since := time.Now(); time.Since(since) < still; <-tick.C {
		now, err := w.bot.Resident()
		if err != nil {
			w.b.Fatal(err)
		}
		if least == 0 || now < least-least/100 {
			least, since = now, time.Now()
		}
	}
	return least
}

// BenchmarkStart measures how long it takes from the start of the bot to its answer to a command that waits for it, with nothing
// in its database and with many rooms and records. The records are made as people make them. With -short it only shows that it runs.
func BenchmarkStart(b *testing.B) {
	sizes := []struct{ rooms, records int }{{1, 0}, {1000, 0}, {1000, 100_000}}
	if testing.Short() {
		sizes = []struct{ rooms, records int }{{1, 0}, {3, 12}}
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("rooms=%d/records=%d", size.rooms, size.records), func(b *testing.B) {
			w := newWorld(b, standin.Options{})
			var rooms []string
			for n := range size.rooms {
				rooms = append(rooms, w.server.Room(fmt.Sprintf("Room %d", n), map[string]int{ana: 100, w.id: 0}))
			}
			w.start(size.rooms)
			w.plan(rooms, size.records/size.rooms)
			w.settle()
			var took []time.Duration
			for range runs * b.N {
				if err := w.bot.Stop(); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if err := w.bot.Start(); err != nil {
					b.Fatal(err)
				}
				answer, err := w.command(rooms[0], "/calendar")
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, answer.At.Sub(start))
				w.settle()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(took), "ms")
			row(size.rooms, size.records, ms(median(took)), ms(float64(slices.Max(took))/1e6))
		})
	}
}

// plan lets people put so many dates into each room's calendar.
func (w *world) plan(rooms []string, each int) {
	w.b.Helper()
	todo := make(chan string)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			for room := range todo {
				for n := range each {
					if err := w.plans(room, n); err != nil {
						w.b.Error(err)
						return
					}
				}
			}
		})
	}
	for _, room := range rooms {
		todo <- room
	}
	close(todo)
	group.Wait()
}

func (w *world) plans(room string, n int) error {
	ctx, cancel := context.WithTimeout(w.ctx, 10*lab.Patience)
	defer cancel()
	command := w.server.Say(room, ana, "/calendar add assembly "+word(n)+" saturday 19:00")
	review, err := w.answer(ctx, room, command)
	if err != nil {
		return err
	}
	w.server.React(room, ana, review.ID, "✅")
	_, err = w.next(ctx, room, command, review.ID)
	return err
}

// next waits for what the bot replies to an event after another reply.
func (w *world) next(ctx context.Context, room, to, after string) (standin.Event, error) {
	passed := false
	return w.server.Wait(ctx, room, func(e standin.Event) bool {
		relation, _ := e.Content["m.relates_to"].(map[string]any)
		reply, _ := relation["m.in_reply_to"].(map[string]any)
		fits := passed && e.Sender == w.id && e.Type == "m.room.message" && reply["event_id"] == to
		passed = passed || e.ID == after
		return fits
	})
}
