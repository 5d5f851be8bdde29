package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/rs/zerolog"

	"starling/locales"
)

// config is config.toml. What a key means stands there.
type config struct {
	Bot struct {
		Name     botName  `toml:"name"`
		Language language `toml:"language"`
	} `toml:"bot"`
	State struct {
		Dir string `toml:"dir"`
	} `toml:"state"`
	Content struct {
		Dir string `toml:"dir"`
	} `toml:"content"`
	Matrix struct {
		User       matrixUser `toml:"user"`
		Homeserver webAddress `toml:"homeserver"`
		Invite     []inviter  `toml:"invite"`
	} `toml:"matrix"`
	Log struct {
		Level logLevel `toml:"level"`
	} `toml:"log"`
}

type (
	botName    string
	language   string
	matrixUser string
	webAddress string
	inviter    string
	logLevel   string
)

// problem is what is wrong with a value, in words that never repeat it: it may be a secret in the wrong place.
type problem string

func (p problem) Error() string { return string(p) }

func (v *botName) UnmarshalText(b []byte) error {
	if s := strings.TrimSpace(string(b)); s == "" || len(s) > 40 || strings.ContainsAny(s, " \t\n@:/!") {
		return problem("is one word of at most 40 letters, without @ : / or !")
	}
	*v = botName(b)
	return nil
}

func (v *language) UnmarshalText(b []byte) error {
	for _, l := range locales.Languages() {
		if l.Code == string(b) {
			*v = language(b)
			return nil
		}
	}
	return problem("is one of en, es, fr, pt, de, ar, ku")
}

func (v *matrixUser) UnmarshalText(b []byte) error {
	if s := string(b); s != "" && (!strings.HasPrefix(s, "@") || !strings.Contains(s, ":")) {
		return problem(`is a Matrix address such as "@starling:example.org"`)
	}
	*v = matrixUser(b)
	return nil
}

func (v *webAddress) UnmarshalText(b []byte) error {
	if s := string(b); s != "" {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return problem(`is a web address such as "https://matrix.example.org", without a user or password in it`)
		}
	}
	*v = webAddress(b)
	return nil
}

func (v *inviter) UnmarshalText(b []byte) error {
	s := string(b)
	if s != "*" && !strings.HasPrefix(s, ":") && (!strings.HasPrefix(s, "@") || !strings.Contains(s, ":")) || s == ":" {
		return problem(`holds addresses ("@ana:example.org"), servers (":example.org") or "*"`)
	}
	*v = inviter(b)
	return nil
}

func (v *logLevel) UnmarshalText(b []byte) error {
	switch string(b) {
	case "error", "warn", "info", "debug":
		*v = logLevel(b)
		return nil
	}
	return problem("is one of error, warn, info, debug")
}

func (v logLevel) zerolog() zerolog.Level {
	l, err := zerolog.ParseLevel(string(v))
	if err != nil {
		return zerolog.InfoLevel
	}
	return l
}

func defaultConfig() config {
	var c config
	c.Bot.Name, c.Bot.Language, c.State.Dir, c.Log.Level = "starling", "en", "./var", "info"
	return c
}

// loadConfig reads a configuration; a file that is not there is an error only if it was asked for. What is wrong is named by
// row and key, never by value.
func loadConfig(path string, required bool) (config, error) {
	c := defaultConfig()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !required {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	d := toml.NewDecoder(strings.NewReader(string(b))).DisallowUnknownFields()
	err = d.Decode(&c)
	var strict *toml.StrictMissingError
	var one *toml.DecodeError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &strict):
		var all []error
		for _, e := range strict.Errors {
			row, _ := e.Position()
			all = append(all, fmt.Errorf("%s, row %d: %s is no key of Starling's configuration", path, row, strings.Join(e.Key(), ".")))
		}
		return c, errors.Join(all...)
	case errors.As(err, &one):
		row, _ := one.Position()
		key := strings.Join(one.Key(), ".")
		if key == "" {
			key = keyAt(string(b), row)
		}
		var p problem
		if errors.As(err, &p) {
			return c, fmt.Errorf("%s, row %d: %s %s", path, row, key, p)
		}
		if key == "" {
			return c, fmt.Errorf("%s, row %d: this is not TOML", path, row)
		}
		return c, fmt.Errorf("%s, row %d: the value of %s is not of the kind that it needs", path, row, key)
	}
	return c, fmt.Errorf("%s cannot be understood", path)
}

// keyAt is the key on a row of a TOML file, with its table; "" when there is none.
func keyAt(text string, row int) string {
	rows := strings.Split(text, "\n")
	if row < 1 || row > len(rows) {
		return ""
	}
	key, _, ok := strings.Cut(rows[row-1], "=")
	if !ok {
		return ""
	}
	table := ""
	for _, r := range rows[:row-1] {
		if r = strings.TrimSpace(r); strings.HasPrefix(r, "[") {
			table = strings.Trim(r, "[] \t\r") + "."
		}
	}
	return table + strings.TrimSpace(key)
}
