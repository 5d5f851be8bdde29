package web

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"starling/bot"
)

// Asked is how the bot is asked how it is.
type Asked func(ctx context.Context) (bot.Health, error)

// Health serves what a supervisor reads: 200 while the bot does its work, else 503 with the reasons as codes.
func Health(ask Asked) Route {
	return Route{"GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := struct {
			OK      bool     `json:"ok"`
			Reasons []string `json:"reasons"`
		}{Reasons: []string{}}
		h, err := ask(r.Context())
		if err != nil {
			answer.Reasons = append(answer.Reasons, "database")
		}
		for _, t := range h.Troubles() {
			answer.Reasons = append(answer.Reasons, t.Code)
		}
		answer.OK = len(answer.Reasons) == 0
		w.Header().Set("Content-Type", "application/json")
		if !answer.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answer) // the caller may be gone
	})}
}

// Metrics serves the same numbers to Prometheus. No label tells a room or a person.
func Metrics(ask Asked) Route {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{ask})
	return Route{"GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: answerWithin})}
}

// collector reads the bot's health when Prometheus asks.
type collector struct{ ask Asked }

// metric is one number of a health: its name, what it says, and where it is found.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	label      string
	read       func(h bot.Health, say func(value float64, label string))
}

func one(name, help string, read func(h bot.Health) float64) metric {
	return metric{name, help, prometheus.GaugeValue, "", func(h bot.Health, say func(float64, string)) { say(read(h), "") }}
}

func perNetwork(name, help string, kind prometheus.ValueType, read func(h bot.Health, n bot.Network) (float64, bool)) metric {
	return metric{name, help, kind, "network", func(h bot.Health, say func(float64, string)) {
		for _, n := range h.Networks {
			if v, ok := read(h, n); ok {
				say(v, n.Name)
			}
		}
	}}
}

func perPriority(name, help string, read func(h bot.Health, w bot.Waiting) float64) metric {
	return metric{name, help, prometheus.GaugeValue, "priority", func(h bot.Health, say func(float64, string)) {
		for _, w := range h.Waiting {
			say(read(h, w), w.Priority)
		}
	}}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

var metrics = []metric{
	{"starling_info", "The version that runs.", prometheus.GaugeValue, "version", func(h bot.Health, say func(float64, string)) { say(1, h.Version) }},
	one("starling_start_time_seconds", "When the bot started.", func(h bot.Health) float64 { return unix(h.Started) }),
	one("starling_rooms", "Rooms in which the bot is.", func(h bot.Health) float64 { return float64(h.Rooms) }),
	{"starling_errors_total", "Errors of the bot itself since the start.", prometheus.CounterValue, "", func(h bot.Health, say func(float64, string)) { say(float64(h.Errors), "") }},
	one("starling_inbox", "Received and not yet stored.", func(h bot.Health) float64 { return float64(h.Inbox) }),
	one("starling_sending", "Calls to networks under way.", func(h bot.Health) float64 { return float64(h.Sending) }),
	one("starling_jobs", "Work outside that is under way or to be done.", func(h bot.Health) float64 { return float64(h.Jobs) }),
	one("starling_set_aside", "Messages of the last thirty days that could never be delivered.", func(h bot.Health) float64 { return float64(h.SetAside) }),
	perPriority("starling_outbox", "Messages that wait to be said.", func(_ bot.Health, w bot.Waiting) float64 { return float64(w.Rows) }),
	perPriority("starling_outbox_oldest_seconds", "How long the oldest of them has waited.", func(h bot.Health, w bot.Waiting) float64 {
		if w.Rows == 0 {
			return 0
		}
		return h.Now.Sub(w.Oldest).Seconds()
	}),
	perNetwork("starling_network_calls_total", "Calls that succeeded since the start.", prometheus.CounterValue, func(_ bot.Health, n bot.Network) (float64, bool) { return float64(n.Sent), true }),
	perNetwork("starling_network_failed_calls_total", "Calls that failed since the start, tries included.", prometheus.CounterValue, func(_ bot.Health, n bot.Network) (float64, bool) { return float64(n.Failed), true }),
	perNetwork("starling_network_closed_seconds", "For how long yet the network's rate limit lets nothing leave.", prometheus.GaugeValue, func(h bot.Health, n bot.Network) (float64, bool) {
		return max(0, n.Closed.Sub(h.Now).Seconds()), true
	}),
	perNetwork("starling_network_connected", "1 while the last exchange with the network succeeded.", prometheus.GaugeValue, func(_ bot.Health, n bot.Network) (float64, bool) {
		if n.Report != nil && n.Report.Connected {
			return 1, true
		}
		return 0, n.Report != nil
	}),
	perNetwork("starling_network_received_timestamp_seconds", "When something last came in.", prometheus.GaugeValue, func(_ bot.Health, n bot.Network) (float64, bool) {
		if n.Report == nil || n.Report.Received.IsZero() {
			return 0, false
		}
		return unix(n.Report.Received), true
	}),
	perNetwork("starling_network_held", "Messages that cannot be read yet.", prometheus.GaugeValue, func(_ bot.Health, n bot.Network) (float64, bool) {
		if n.Report == nil {
			return 0, false
		}
		return float64(n.Report.Held), true
	}),
}

func (m metric) desc() *prometheus.Desc {
	var labels []string
	if m.label != "" {
		labels = []string{m.label}
	}
	return prometheus.NewDesc(m.name, m.help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range metrics {
		to <- m.desc()
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	h, err := c.ask(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(metrics[0].desc(), err)
		return
	}
	for _, m := range metrics {
		desc := m.desc()
		m.read(h, func(value float64, label string) {
			if m.label == "" {
				to <- prometheus.MustNewConstMetric(desc, m.kind, value)
			} else {
				to <- prometheus.MustNewConstMetric(desc, m.kind, value, label)
			}
		})
	}
}
