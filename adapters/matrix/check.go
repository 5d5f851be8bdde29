package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// How far the clock may be off before something is wrong: what people say is dated by their homeservers.
const (
	clockWarns = 5 * time.Second
	clockWrong = time.Minute
)

// Check looks at the account in cfg.StateDir for `starling doctor`. It changes nothing; with rates it measures what the
// account may send, in a room of its own that it leaves again.
func Check(ctx context.Context, cfg Config, rates bool) (all []bot.Finding) {
	ctx = quiet(ctx)
	say := func(l bot.Level, text, todo string) {
		all = append(all, bot.Finding{Level: l, Text: "matrix: " + text, Remedy: todo})
	}
	st, err := openStore(ctx, cfg.StateDir, false)
	if err != nil {
		say(bot.LevelWrong, err.Error(), remedy(err))
		return all
	}
	defer st.close()
	s, err := st.session(ctx)
	switch {
	case err != nil:
		say(bot.LevelWrong, "the login cannot be read: "+clean(err).Error(), remedy(err))
		return all
	case s == nil || !s.Ready:
		say(bot.LevelWrong, "not logged in", "starling matrix login")
		return all
	case cfg.UserID != "" && cfg.UserID != s.UserID.String():
		say(bot.LevelWrong, "the configuration names another account than the one that is logged in", "Correct [matrix] user, or log in with another state directory.")
		return all
	case hasScheme(cfg.Homeserver):
		s.Homeserver = cfg.Homeserver
	}
	cli, err := newClient(s.Homeserver, cfg.HTTPClient)
	if err != nil {
		say(bot.LevelWrong, err.Error(), "Correct [matrix] homeserver.")
		return all
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = s.UserID, s.DeviceID, s.AccessToken

	began := time.Now()
	var versions mautrix.RespVersions
	_, answer, err := cli.MakeFullRequestWithResp(ctx, mautrix.FullRequest{Method: http.MethodGet, URL: cli.BuildClientURL("versions"), ResponseJSON: &versions})
	took := time.Since(began)
	if err != nil {
		say(bot.LevelWrong, clean(err).Error(), "Is it up, and is [matrix] homeserver its address?")
		return all
	}
	say(bot.LevelFine, fmt.Sprintf("the homeserver answers in %d ms, Matrix up to %s", took.Milliseconds(), versions.GetLatest()), "")
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		off := began.Add(took / 2).Sub(date.Add(500 * time.Millisecond)).Abs() // the header has whole seconds
		switch text := fmt.Sprintf("this machine's clock and the homeserver's differ by %s", off.Round(time.Second)); {
		case off > clockWrong:
			say(bot.LevelWrong, text, "Set the clock, for instance with systemd-timesyncd or chrony: times in alerts and calendars depend on it.")
		case off > clockWarns:
			say(bot.LevelWarning, text, "Keep the clock by systemd-timesyncd or chrony.")
		default:
			say(bot.LevelFine, "the clock agrees with the homeserver's", "")
		}
	}
	if _, err := cli.Whoami(ctx); loggedOut(err) {
		say(bot.LevelWrong, ErrLoggedOut.Error(), remedy(ErrLoggedOut))
		return all
	} else if err != nil {
		say(bot.LevelWrong, "the login cannot be tried: "+clean(err).Error(), remedy(err))
		return all
	}
	say(bot.LevelFine, "logged in as "+s.UserID.String(), "")

	keys, err := cli.QueryKeys(ctx, &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{s.UserID: {}}})
	switch {
	case err != nil:
		say(bot.LevelWrong, "the device's keys cannot be looked up: "+clean(err).Error(), remedy(err))
	case keys.DeviceKeys[s.UserID] == nil:
		say(bot.LevelWrong, "the homeserver did not say which devices the account has", "Try again in some minutes. If it stays so, something answers /_matrix/client/v3/keys/query in the homeserver's place: look at the reverse proxy.")
	case len(keys.DeviceKeys[s.UserID][s.DeviceID].Keys) == 0:
		say(bot.LevelWrong, ErrDeviceLost.Error(), remedy(ErrDeviceLost))
	case !signedByOwner(keys, s.UserID, s.DeviceID):
		say(bot.LevelWrong, "the device is not signed by the account's identity: people see a warning, and some clients give it no keys", "starling matrix login --new-device, with the recovery key at hand")
	default:
		say(bot.LevelFine, "the device is signed by the account's identity", "")
	}
	file := filepath.Join(cfg.StateDir, recoveryFile)
	if _, err := os.Stat(file); err == nil {
		say(bot.LevelWarning, "the recovery key still lies on this machine", "Move "+file+" to a safe place elsewhere: who takes the machine must not get it, and who loses the machine needs it.")
	}
	token, err := serviceToken(cfg.StateDir)
	switch {
	case err != nil:
		say(bot.LevelWrong, err.Error(), remedy(err))
	case token != "":
		service, err := serviceClient(s.Homeserver, token, s.UserID, s.DeviceID, cfg.HTTPClient)
		if err == nil {
			_, err = service.Whoami(ctx)
		}
		switch {
		case refusesService(err):
			say(bot.LevelWrong, "the homeserver does not know the application service's registration: the bot runs within an ordinary account's limits", "See `starling matrix appservice`, restart the homeserver, then the bot.")
		case err != nil:
			say(bot.LevelWrong, "the application service cannot be tried: "+clean(err).Error(), remedy(err))
		default:
			cli = service
			say(bot.LevelFine, "sends as an application service", "")
		}
	}
	if !rates {
		if cli.AccessToken != token {
			say(bot.LevelWarning, "what the account may send was not measured", "starling doctor --rates sends up to 15 events into a private room of its own, and leaves it.")
		}
		return all
	}
	return append(all, measure(ctx, cli, s))
}

// remedy says what to do about what could not be looked at.
func remedy(err error) string {
	var he mautrix.HTTPError
	switch {
	case errors.Is(err, ErrNotLoggedIn), errors.Is(err, ErrUnreadable), errors.Is(err, ErrLoggedOut), errors.Is(err, ErrDeviceLost), loggedOut(err):
		return `"When the Matrix login is lost" in docs/operating.md says how.`
	case errors.Is(err, ErrNewerDatabase):
		return "Put the newer program back."
	case errors.As(err, &he) && he.Response != nil:
		return "Try again in some minutes. If it stays so, the homeserver's log says why: ask its administrator."
	case errors.As(err, new(*url.Error)), errors.Is(err, context.DeadlineExceeded):
		return "Is the homeserver up, and is [matrix] homeserver its address? Where it is slow, try again."
	}
	return "Run the doctor as the bot's user, and see that the disk is not full and [state] dir names the right directory."
}

// probes is how many events are sent at the most: enough to see Synapse's default burst of ten end.
const probes = 15

// measure finds out how fast the account may send, in a room in which nobody else is.
func measure(ctx context.Context, cli *mautrix.Client, s *session) bot.Finding {
	wrong := func(err error) bot.Finding {
		return bot.Finding{Level: bot.LevelWrong, Text: "matrix: the rate limit cannot be measured: " + clean(err).Error(), Remedy: remedy(err)}
	}
	room, err := cli.CreateRoom(ctx, &mautrix.ReqCreateRoom{Preset: "private_chat", Name: "Starling measures its rate limit"})
	if wait := retryAfter(err); wait > 0 {
		return limited(s, 0, wait)
	} else if err != nil {
		return wrong(err)
	}
	defer func() {
		// Leaving can be limited, too. A room in which nobody else is disturbs nobody: a running bot leaves it as well.
		if _, err := cli.LeaveRoom(ctx, room.RoomID); err == nil {
			_, _ = cli.ForgetRoom(ctx, room.RoomID)
		}
	}()
	probe := event.Type{Type: "org.starling.probe", Class: event.MessageEventType}
	began := time.Now()
	for n := range probes {
		_, err := cli.SendMessageEvent(ctx, room.RoomID, probe, map[string]any{}, mautrix.ReqSendEvent{DontEncrypt: true})
		if errors.Is(err, mautrix.MLimitExceeded) || httpStatus(err) == http.StatusTooManyRequests {
			return limited(s, n, max(retryAfter(err), time.Second))
		} else if err != nil {
			return wrong(err)
		}
	}
	return bot.Finding{Text: fmt.Sprintf("matrix: %d events left within %d ms: no rate limit that matters", probes, time.Since(began).Milliseconds())}
}

func limited(s *session, sent int, wait time.Duration) bot.Finding {
	return bot.Finding{
		Level: bot.LevelWarning,
		Text: fmt.Sprintf("matrix: the homeserver held up the bot after %d events, and lets the next leave in %.1f seconds: alerts to many rooms take minutes (it sent %d events into a room of its own and left it)",
			sent, wait.Seconds(), sent),
		Remedy: "Either have the homeserver's administrator lift the limit, on Synapse with:\n" +
			overrideCall(s.Homeserver, s.UserID) +
			"\nor run as an application service, which is not limited: starling matrix appservice",
	}
}

// overrideCall is what a Synapse administrator runs.
func overrideCall(homeserver string, user id.UserID) string {
	return fmt.Sprintf("curl -X POST -H 'Authorization: Bearer ADMIN_TOKEN' -d '{\"messages_per_second\": 0, \"burst_count\": 0}' '%s/_synapse/admin/v1/users/%s/override_ratelimit'", homeserver, user)
}
