package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"starling/bot"
)

var now = time.Date(2026, 11, 26, 18, 0, 0, 0, time.UTC)

func healthy() bot.Health {
	return bot.Health{
		Status: bot.Status{Rooms: 14, Errors: 2}, Version: "1.2", Now: now, Started: now.Add(-time.Hour), SetAside: 3,
		Waiting: []bot.Waiting{{Priority: "alert"}, {Priority: "answer", Rows: 2, Oldest: now.Add(-4 * time.Second)}},
		Networks: []bot.Network{
			{Name: "matrix", Sent: 7, Failed: 1, Closed: now.Add(5 * time.Second), Report: &bot.Report{Connected: true, Received: now, Held: 1}},
			{Name: "console"},
		},
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func TestASupervisorIsToldWhatIsWrongInCodes(t *testing.T) {
	h, failed := healthy(), error(nil)
	address, err := Serve(t.Context(), "127.0.0.1:0", false, Health(func(context.Context) (bot.Health, error) { return h, failed }))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, "http://"+address+"/healthz"); status != http.StatusOK || body != `{"ok":true,"reasons":[]}`+"\n" {
		t.Errorf("healthy: %d %s", status, body)
	}
	h.Networks[0].Report = &bot.Report{Trouble: "log in again"}
	h.Waiting[0] = bot.Waiting{Priority: "alert", Rows: 1, Oldest: now.Add(-time.Hour)}
	status, body := get(t, "http://"+address+"/healthz")
	var answer struct{ Reasons []string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusServiceUnavailable || strings.Join(answer.Reasons, " ") != "matrix-trouble alerts-late" {
		t.Errorf("ill: %d %s %v", status, body, err)
	}
	failed = errors.New("no database")
	if status, body := get(t, "http://"+address+"/healthz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"database"`) || strings.Contains(body, "no database") {
		t.Errorf("without a database: %d %s", status, body)
	}
	if status, _ := get(t, "http://"+address+"/"); status != http.StatusNotFound {
		t.Errorf("what is not served is answered with %d", status)
	}
	if res, err := http.Post("http://"+address+"/healthz", "", nil); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST is answered with %v, %v", res, err)
	}
}

func TestMetricsAreWellFormedAndTellNobody(t *testing.T) {
	c := &collector{func(context.Context) (bot.Health, error) { return healthy(), nil }}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("%v: %v", err, problems)
	}
	const want = `
# HELP starling_outbox Messages that wait to be said.
# TYPE starling_outbox gauge
starling_outbox{priority="alert"} 0
starling_outbox{priority="answer"} 2
# HELP starling_outbox_oldest_seconds How long the oldest of them has waited.
# TYPE starling_outbox_oldest_seconds gauge
starling_outbox_oldest_seconds{priority="alert"} 0
starling_outbox_oldest_seconds{priority="answer"} 4
# HELP starling_network_connected 1 while the last exchange with the network succeeded.
# TYPE starling_network_connected gauge
starling_network_connected{network="matrix"} 1
# HELP starling_network_closed_seconds For how long yet the network's rate limit lets nothing leave.
# TYPE starling_network_closed_seconds gauge
starling_network_closed_seconds{network="console"} 0
starling_network_closed_seconds{network="matrix"} 5
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "starling_outbox", "starling_outbox_oldest_seconds", "starling_network_connected", "starling_network_closed_seconds"); err != nil {
		t.Error(err)
	}
	address, err := Serve(t.Context(), "127.0.0.1:0", false, Metrics(c.ask))
	if err != nil {
		t.Fatal(err)
	}
	status, body := get(t, "http://"+address+"/metrics")
	for _, m := range metrics {
		if !strings.Contains(body, "\n"+m.name+"{") && !strings.Contains(body, "\n"+m.name+" ") {
			t.Errorf("%s is missing", m.name)
		}
	}
	if status != http.StatusOK || !strings.Contains(body, "process_resident_memory_bytes") {
		t.Errorf("%d\n%s", status, body)
	}
}

func TestMetricsSayThatThereIsNoAnswer(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{func(context.Context) (bot.Health, error) { return bot.Health{}, errors.New("gone") }})
	if _, err := registry.Gather(); err == nil {
		t.Error("numbers of a bot that does not answer")
	}
}

func TestOnlyLoopbackUnlessItIsLifted(t *testing.T) {
	for _, tt := range []struct {
		listen   string
		anywhere bool
		ok       bool
	}{
		{"", false, true}, {"127.0.0.1:9464", false, true}, {"[::1]:9464", false, true}, {"127.8.9.1:1", false, true},
		{"0.0.0.0:9464", false, false}, {"[::]:9464", false, false}, {"192.168.1.5:9464", false, false}, {"192.168.1.5:9464", true, true},
		{":9464", false, false}, {":9464", true, false}, {"localhost:9464", false, false}, {"127.0.0.1", false, false}, {"[::ffff:10.0.0.1]:80", false, false},
	} {
		if err := CheckAddress(tt.listen, tt.anywhere); (err == nil) != tt.ok {
			t.Errorf("%q, lifted %v: %v", tt.listen, tt.anywhere, err)
		}
	}
	if _, err := Serve(t.Context(), "0.0.0.0:0", false); err == nil {
		t.Error("it listens to the world")
	}
}

// What takes all places turns others away instead of piling up, and they come in when a place is free.
func TestSoManyAtOnce(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := Route{"GET /slow", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })}
	quick := Route{"GET /quick", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	address, err := Serve(t.Context(), "127.0.0.1:0", false, slow, quick)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, atOnce)
	for range atOnce {
		go func() {
			res, err := http.Get("http://" + address + "/slow")
			if err == nil {
				res.Body.Close()
			}
			left <- err
		}()
	}
	for range atOnce {
		<-entered
	}
	if status, _ := get(t, "http://"+address+"/quick"); status != http.StatusServiceUnavailable {
		t.Errorf("one too many gets %d", status)
	}
	close(leave)
	for range atOnce {
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
	if status, _ := get(t, "http://"+address+"/quick"); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}
