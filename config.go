package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"starling/adapters/signal"
	"starling/adapters/web"
	"starling/bot"
	"starling/locales"
)

// config is config.toml. What a key means stands there.
type config struct {
	Bot struct {
		Name     string `toml:"name"`
		Language string `toml:"language"`
	} `toml:"bot"`
	State struct {
		Dir string `toml:"dir"`
	} `toml:"state"`
	Database struct {
		URL string `toml:"url"`
	} `toml:"database"`
	Backup struct {
		Recipient string `toml:"recipient"`
	} `toml:"backup"`
	Content struct {
		Dir string `toml:"dir"`
	} `toml:"content"`
	Matrix struct {
		User       string   `toml:"user"`
		Homeserver string   `toml:"homeserver"`
		Invite     []string `toml:"invite"`
	} `toml:"matrix"`
	Signal struct {
		Account string   `toml:"account"`
		Command string   `toml:"command"`
		Data    string   `toml:"data"`
		Address string   `toml:"address"`
		Invite  []string `toml:"invite"`
		Trust   string   `toml:"trust"`
	} `toml:"signal"`
	Log struct {
		Level string `toml:"level"`
	} `toml:"log"`
	Limits struct {
		PersonPerMinute int `toml:"person_per_minute"`
		RoomPerMinute   int `toml:"room_per_minute"`
	} `toml:"limits"`
	Metrics struct {
		Listen         string `toml:"listen"`
		BeyondLoopback bool   `toml:"beyond_loopback"`
	} `toml:"metrics"`
}

func defaultConfig() config {
	var c config
	c.Bot.Name, c.Bot.Language, c.State.Dir, c.Log.Level = "starling", "en", "./var", "info"
	c.Signal.Command, c.Signal.Trust = "signal-cli", signal.TrustFirstUse
	c.Limits.PersonPerMinute, c.Limits.RoomPerMinute = 20, 60
	return c
}

// check says what each value must be, for those that are not right. It never repeats a value: that may be a secret in the wrong place.
func (c *config) check() (wrong [][3]string) {
	say := func(ok bool, table, key, rule string) {
		if !ok {
			wrong = append(wrong, [3]string{table, key, rule})
		}
	}
	var languages []string
	for _, l := range locales.Languages() {
		languages = append(languages, l.Code)
	}
	say(c.Bot.Name != "" && len(c.Bot.Name) <= 40 && !strings.ContainsAny(c.Bot.Name, " \t\n@:/!"), "bot", "name", "is one word of at most 40 letters, without @ : / or !")
	say(slices.Contains(languages, c.Bot.Language), "bot", "language", "is one of "+strings.Join(languages, ", "))
	say(c.State.Dir != "", "state", "dir", "names a directory")
	say(c.Database.URL == "" || bot.IsPostgres(c.Database.URL), "database", "url", `is "postgres://user@host/name", or empty for SQLite`)
	say(c.Backup.Recipient == "" || isRecipient(c.Backup.Recipient), "backup", "recipient", `is an age public key, "age1…"`)
	say(c.Matrix.User == "" || matrixAddress(c.Matrix.User), "matrix", "user", `is a Matrix address such as "@starling:example.org"`)
	say(c.Matrix.Homeserver == "" || webAddress(c.Matrix.Homeserver), "matrix", "homeserver", `is a web address such as "https://matrix.example.org", without a user or password in it`)
	say(!slices.ContainsFunc(c.Matrix.Invite, func(s string) bool { return !mayInvite(s) }), "matrix", "invite", inviteRule)
	for key, n := range map[string]int{"person_per_minute": c.Limits.PersonPerMinute, "room_per_minute": c.Limits.RoomPerMinute} {
		say(n == 0 || n >= 5 && n <= 10000, "limits", key, "is a number from 5 to 10000, or 0 for no limit")
	}
	s := &c.Signal
	say(s.Account == "" || phoneNumber(s.Account), "signal", "account", `is a phone number such as "+34600123456"`)
	say(s.Command != "" || s.Address != "", "signal", "command", "names a program, unless there is an address")
	say(s.Address == "" || signal.KnownAddress(s.Address), "signal", "address", `is "unix:/run/signal-cli.sock", "tcp:127.0.0.1:7583" or "http://127.0.0.1:8080"`)
	say(!slices.ContainsFunc(s.Invite, func(s string) bool { return s != "*" && !phoneNumber(s) && !signal.IsPerson(s) }), "signal", "invite", `holds people (their UUID, or their number where they show it) or "*"`)
	say(s.Trust == signal.TrustFirstUse || s.Trust == signal.TrustAsk, "signal", "trust", `is "first-use" or "ask"`)
	say(slices.Contains([]string{"error", "warn", "info", "debug", "trace"}, c.Log.Level), "log", "level", "is one of error, warn, info, debug, trace")
	if err := web.CheckAddress(c.Metrics.Listen, c.Metrics.BeyondLoopback); err != nil {
		say(false, "metrics", "listen", err.Error())
	}
	return wrong
}

func phoneNumber(s string) bool {
	digits, ok := strings.CutPrefix(s, "+")
	return ok && len(digits) >= 5 && len(digits) <= 15 && strings.Trim(digits, "0123456789") == ""
}

const inviteRule = `holds addresses ("@ana:example.org"), servers (":example.org") or "*"`

func matrixAddress(s string) bool {
	name, server, ok := strings.Cut(s, ":")
	return ok && len(name) > 1 && name[0] == '@' && server != "" && !strings.ContainsAny(s, " \t\n/")
}

func mayInvite(s string) bool {
	return s == "*" || matrixAddress(s) || len(s) > 1 && s[0] == ':' && !strings.ContainsAny(s, " \t\n/")
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// loadConfig reads a configuration; a file that is not there is an error only if it was asked for. What is wrong is named by
// row and key.
func loadConfig(path string, required bool) (config, error) {
	c := defaultConfig()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !required {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	text := string(b)
	err = toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(&c)
	var strict *toml.StrictMissingError
	var one *toml.DecodeError
	var all []error
	switch {
	case err == nil:
	case errors.As(err, &strict):
		for _, e := range strict.Errors {
			row, _ := e.Position()
			all = append(all, fmt.Errorf("%s, row %d: %s is no key of Starling's configuration", path, row, strings.Join(e.Key(), ".")))
		}
		return c, errors.Join(all...)
	case errors.As(err, &one) && len(one.Key()) == 0:
		row, _ := one.Position()
		return c, fmt.Errorf("%s, row %d: this is not TOML", path, row)
	default: // a number where a text belongs, or the like
		return c, wrongKind(path, text)
	}
	for _, w := range c.check() {
		all = append(all, fmt.Errorf("%s, row %d: %s.%s %s", path, rowOf(text, w[0], w[1]), w[0], w[1], w[2]))
	}
	return c, errors.Join(all...)
}

// wrongKind names the keys whose values are not of the kind that they need.
func wrongKind(path, text string) error {
	var raw map[string]any
	if err := toml.Unmarshal([]byte(text), &raw); err != nil {
		return fmt.Errorf("%s: this is not TOML", path)
	}
	var all []error
	for table, v := range raw {
		keys, ok := v.(map[string]any)
		if !ok {
			all = append(all, fmt.Errorf("%s, row %d: %s is a table: [%s]", path, rowOf(text, "", table), table, table))
			continue
		}
		for key, v := range keys {
			one, err := toml.Marshal(map[string]any{table: map[string]any{key: v}})
			if c := new(config); err == nil && toml.Unmarshal(one, c) != nil {
				all = append(all, fmt.Errorf("%s, row %d: the value of %s.%s is not of the kind that it needs", path, rowOf(text, table, key), table, key))
			}
		}
	}
	return errors.Join(all...)
}

// rowOf is the row on which a key stands.
func rowOf(text, table, key string) int {
	at := ""
	for i, row := range strings.Split(text, "\n") {
		row = strings.TrimSpace(row)
		if strings.HasPrefix(row, "[") {
			at = strings.Trim(strings.SplitN(row, "#", 2)[0], "[] \t")
			continue
		}
		name, _, _ := strings.Cut(row, "=")
		if name = strings.TrimSpace(name); at == table && name == key || at == "" && name == table+"."+key {
			return i + 1
		}
	}
	return 1
}
