// Starling is a chat bot for the rooms of a movement's autonomous chapters. This file is the command line: it wires the parts
// and does nothing else.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	ossignal "os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"golang.org/x/term"

	"starling/adapters"
	"starling/adapters/console"
	"starling/adapters/matrix"
	"starling/adapters/rig"
	"starling/adapters/signal"
	"starling/adapters/web"
	"starling/bot"
	"starling/bot/seal"
	"starling/commands"
	"starling/data"
	"starling/locales"
)

// version is set by the build where there is one.
var version = "development"

type cli struct {
	Config  string           `help:"The configuration file." default:"config.toml" type:"path" short:"c"`
	Version kong.VersionFlag `help:"Print the version."`

	Console consoleCmd `cmd:"" default:"1" help:"Open the console: demo rooms in this terminal, no account and no server needed."`
	Run     runCmd     `cmd:"" help:"Run the bot on its networks."`
	Talk    talkCmd    `cmd:"" help:"Play conversations against the real bot and print what it says."`
	Matrix  struct {
		Login      loginCmd      `cmd:"" help:"Log the bot in to its Matrix account."`
		Appservice appserviceCmd `cmd:"" help:"Write the bot's registration as an application service, which no rate limit holds up."`
	} `cmd:"" help:"The bot's Matrix account."`
	Signal struct {
		Link    signalLinkCmd    `cmd:"" help:"Make signal-cli a device of the bot's Signal account: shows the code that the phone takes."`
		Status  signalStatusCmd  `cmd:"" help:"Say how the Signal account is, and what to do about it."`
		Captcha signalCaptchaCmd `cmd:"" help:"Hand in the proof that Signal asked for."`
	} `cmd:"" help:"The bot's Signal account."`
	Doctor     doctorCmd     `cmd:"" help:"Look whether everything is as it should be, and say what to do where it is not."`
	Status     statusCmd     `cmd:"" help:"Say how a running bot is and what waits to be said, in numbers."`
	Rebuild    rebuildCmd    `cmd:"" help:"Compute every derived table anew from the records."`
	Export     exportCmd     `cmd:"" help:"Write all that is kept of a chapter, its key included, as JSON lines."`
	Backup     backupCmd     `cmd:"" help:"Write the database and its key into one encrypted file, while the bot runs."`
	Restore    restoreCmd    `cmd:"" help:"Fill an empty state directory from a backup."`
	Wipe       wipeCmd       `cmd:"" help:"Destroy all that the bot keeps on this machine, keys first: for when the machine may be seized."`
	MigrateTo  migrateCmd    `cmd:"" help:"Copy the database to another: SQLite to PostgreSQL, or back."`
	Completion completionCmd `cmd:"" help:"Print the completion for a shell."`
	Man        manCmd        `cmd:"" help:"Print the man page."`
}

// onlyOperator is the exit code of what no restart mends: EX_CONFIG of sysexits.h. deploy/starling.service names it.
const onlyOperator = 78

func main() {
	var c cli
	k := kong.Parse(&c, kong.Name("starling"), kong.Description("A chat bot for the rooms of autonomous chapters."), kong.UsageOnError(), kong.Vars{"version": version})
	ctx, stop := ossignal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(&c); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "starling:", err)
		stop()
		os.Exit(exitCode(err))
	}
}

// badConfig is a fault of the configuration.
type badConfig struct{ error }

func (b badConfig) Unwrap() error { return b.error }

// exitCode tells who would start the bot again whether that can help.
func exitCode(err error) int {
	if errors.As(err, new(badConfig)) || errors.As(err, new(seal.KeyError)) {
		return onlyOperator
	}
	for _, e := range []error{matrix.ErrNotLoggedIn, matrix.ErrUnreadable, matrix.ErrNewerDatabase, matrix.ErrOtherAccount, matrix.ErrLoggedOut, matrix.ErrDeviceLost, bot.ErrMoved, bot.ErrNewerDatabase, bot.ErrDamaged} {
		if errors.Is(err, e) {
			return onlyOperator
		}
	}
	return 1
}

// config reads the configuration file; the default one may be missing.
func (c *cli) config() (config, error) {
	abs, err := filepath.Abs("config.toml")
	cfg, err := loadConfig(c.Config, err != nil || c.Config != abs)
	if err != nil {
		err = badConfig{err}
	}
	return cfg, err
}

// engine opens the engine on a state directory.
func engine(c config, caps []bot.Capability, log zerolog.Logger, change func(*bot.Config)) (*bot.Engine, error) {
	registry, bundle, err := texts(caps)
	if err != nil {
		return nil, err
	}
	cfg := bot.Config{Dir: c.State.Dir, Database: c.Database.URL, Version: version, Name: c.Bot.Name, Lang: c.Bot.Language, Log: log, Messages: registry, Locales: bundle,
		Limits: bot.Limits{Person: c.Limits.PersonPerMinute, Room: c.Limits.RoomPerMinute}}
	if change != nil {
		change(&cfg)
	}
	return bot.Open(cfg, caps...)
}

// texts loads all that the bot can say.
func texts(caps []bot.Capability) (*locales.Registry, *locales.Bundle, error) {
	registry := locales.NewRegistry()
	bot.Messages(registry, caps...)
	registry.Add(adapters.Messages()...)
	bundle, err := locales.Load(registry)
	return registry, bundle, err
}

// content gives what ships with the bot, or what a folder puts in its place.
func content(c config) ([]bot.Capability, error) {
	fsys, err := data.Open(c.Content.Dir)
	if err != nil {
		return nil, badConfig{err}
	}
	principles, err := data.Principles(fsys)
	if err != nil {
		return nil, badConfig{err}
	}
	return commands.All(principles), nil
}

type runCmd struct{}

func (runCmd) Run(ctx context.Context, c *cli) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if cfg.Matrix.User == "" && cfg.Signal.Account == "" {
		return badConfig{fmt.Errorf("no network is configured: set [matrix] user or [signal] account in %s, or try `starling console`", c.Config)}
	}
	level, err := zerolog.ParseLevel(cfg.Log.Level)
	if err != nil {
		return err
	}
	log := zerolog.New(os.Stderr).Level(level).With().Timestamp().Logger()
	caps, err := content(cfg)
	if err != nil {
		return err
	}
	e, err := engine(cfg, caps, log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	networks, done, err := networks(cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if lock, err := sweep(cfg.State.Dir); err != nil {
		return err
	} else if lock != nil {
		lock.Close()
	}
	if err := e.ServeStatus(ctx); err != nil {
		return err
	}
	if cfg.Metrics.Listen != "" {
		if _, err := web.Serve(ctx, cfg.Metrics.Listen, cfg.Metrics.BeyondLoopback, web.Health(e.Health), web.Metrics(e.Health)); err != nil {
			return fmt.Errorf("the metrics cannot be served: %w", err)
		}
	}
	running, ended := context.WithCancel(ctx)
	notified := make(chan struct{})
	go func() {
		defer close(notified)
		systemd(running, func(ctx context.Context) error { _, err := e.Health(ctx); return err })
	}()
	defer func() { ended(); <-notified }()
	log.Info().Str("version", version).Msg("starling runs")
	return e.Run(ctx, networks...)
}

// networks opens every network that is configured; done closes them.
func networks(cfg config, log zerolog.Logger) (all []bot.Adapter, done func() error, err error) {
	done = func() error { return nil }
	if cfg.Matrix.User != "" {
		invite, err := invitations(cfg)
		if err != nil {
			return nil, nil, err
		}
		m, err := matrix.New(matrix.Config{StateDir: cfg.State.Dir, Homeserver: cfg.Matrix.Homeserver, UserID: cfg.Matrix.User, Invite: invite, Log: log})
		if err != nil {
			return nil, nil, err
		}
		all, done = append(all, m), m.Close
	}
	if cfg.Signal.Account != "" {
		s := signalConfig(cfg)
		s.Log = log
		a, err := signal.New(s)
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		all = append(all, a)
	}
	return all, done, nil
}

type consoleCmd struct{}

func (consoleCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if !console.Terminal() {
		return errors.New("the console needs a terminal. Without one, play a conversation instead (`starling talk FILE`), or put the bot into real rooms (`make try-matrix`)")
	}
	return c.throwaway(cfg, func(e *bot.Engine, l *locales.Bundle) error { return console.Run(ctx, e, l) })
}

// throwaway opens an engine whose state is deleted afterwards.
func (c *cli) throwaway(cfg config, do func(*bot.Engine, *locales.Bundle) error) (err error) {
	if cfg.State.Dir, err = os.MkdirTemp("", "starling-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cfg.State.Dir)) }()
	caps, err := content(cfg)
	if err != nil {
		return err
	}
	cfg.Database.URL = ""
	var bundle *locales.Bundle
	e, err := engine(cfg, caps, zerolog.Nop(), func(b *bot.Config) { b.NoSync = true; bundle = b.Locales })
	if err != nil {
		return err
	}
	return errors.Join(do(e, bundle), e.Close())
}

type talkCmd struct {
	Files []string `arg:"" optional:"" help:"Conversations to play; standard input without any." type:"existingfile"`
}

func (t talkCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if _, err := content(cfg); err != nil {
		return err
	}
	o := rig.Options{Capabilities: func() []bot.Capability {
		caps, err := content(cfg)
		if err != nil {
			panic(err) // it was read a moment ago
		}
		return caps
	}}
	if len(t.Files) == 0 {
		o.Files, o.Live = os.DirFS("."), term.IsTerminal(int(os.Stdin.Fd()))
		return rig.Play(ctx, os.Stdin, os.Stdout, o)
	}
	for _, name := range t.Files {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		o.Files = os.DirFS(filepath.Dir(name))
		if filepath.Ext(name) == ".txtar" {
			a, err := rig.ReadArchive(data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			data, o.Files = []byte(a.Talk), a.Files()
		}
		if err := rig.Play(ctx, bytes.NewReader(data), os.Stdout, o); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

type rebuildCmd struct{}

func (rebuildCmd) Run(ctx context.Context, c *cli) error {
	return c.offline(func(e *bot.Engine) error { return e.Rebuild(ctx) })
}

type exportCmd struct {
	Chapter string `arg:"" help:"The chapter's name."`
}

func (x exportCmd) Run(ctx context.Context, c *cli) error {
	return c.offline(func(e *bot.Engine) error { return e.Export(ctx, x.Chapter, os.Stdout) })
}

// offline does something with the state directory while the bot is stopped.
func (c *cli) offline(do func(*bot.Engine) error) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(cfg.State.Dir, keyFile)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no bot has run in %s yet", cfg.State.Dir) // and none is begun there
	}
	caps, err := content(cfg)
	if err != nil {
		return err
	}
	e, err := engine(cfg, caps, zerolog.New(os.Stderr), nil)
	if err != nil {
		return err
	}
	return errors.Join(do(e), e.Close())
}

// invitations says who may invite: the configuration, else what was answered at the login.
func invitations(cfg config) ([]string, error) {
	if len(cfg.Matrix.Invite) > 0 {
		return cfg.Matrix.Invite, nil
	}
	b, err := os.ReadFile(invitersFile(cfg.State.Dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(b)), err
}

func invitersFile(dir string) string { return filepath.Join(dir, "matrix-inviters.txt") }
