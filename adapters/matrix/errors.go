package matrix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"maunium.net/go/mautrix"

	"starling/bot"
)

// What an operator may have to do something about. Each sentence says what.
var (
	ErrNotLoggedIn     = errors.New("there is no Matrix login in the state directory: run `starling matrix login`. If there was one and crypto.db is lost, have the recovery key at hand: with it the bot keeps its identity")
	ErrUnreadable      = errors.New("the Matrix database (crypto.db) or its key (crypto.key) is lost or damaged: run `starling matrix login --new-device` with the recovery key at hand")
	ErrNewerDatabase   = errors.New("the Matrix database (crypto.db) was written by a newer Starling: run that version")
	ErrAlreadyLoggedIn = errors.New("the bot is already logged in: `starling run` starts it. To use another account, take another state directory")
	ErrOtherAccount    = errors.New("the configuration names another Matrix account than the one that is logged in: correct [matrix] user, or log in with another state directory")
	ErrLoggedOut       = errors.New("the homeserver no longer knows this login: the bot was logged out, or its device was deleted. Run `starling matrix login` again; with the recovery key it keeps its identity")
	ErrDeviceLost      = errors.New("the encryption keys of the bot's device are not those on the homeserver: crypto.db was lost, restored from a backup, or used twice. Run `starling matrix login --new-device` with the recovery key at hand")
)

// apiError is a failed call as the log may show it: without addresses, ids or what the server said about them.
type apiError struct {
	msg   string
	cause error
}

func (e *apiError) Error() string { return e.msg }
func (e *apiError) Unwrap() error { return e.cause }

// errNotMatrix is for an answer that says that all is well and not what was asked for: nothing is concluded from it.
var errNotMatrix = &apiError{msg: "the homeserver answered with something that is not Matrix (200)"}

// clean makes an error safe to log.
func clean(err error) error {
	if err == nil {
		return nil
	}
	var he mautrix.HTTPError
	var ue *url.Error
	var done *apiError
	switch {
	case errors.As(err, &done):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		msg := "the homeserver took too long"
		if errors.Is(err, context.Canceled) {
			msg = "interrupted"
		}
		return &apiError{msg, err}
	case errors.As(err, &he) && he.RespError != nil:
		return &apiError{fmt.Sprintf("the homeserver answered %s (%d)", errcode(he.RespError.ErrCode), status(he)), err}
	case errors.As(err, &ue):
		return &apiError{fmt.Sprintf("the homeserver cannot be reached: %v", ue.Err), err}
	case errors.As(err, &he) && he.Response != nil:
		return &apiError{fmt.Sprintf("the homeserver answered with something that is not Matrix (%d)", status(he)), err}
	case storeFailed(err):
		return &apiError{fmt.Sprintf("the Matrix database failed: %v", err), err}
	}
	return &apiError{"the call failed", err}
}

// errcode keeps only what an error code may be made of: it comes from the server.
func errcode(s string) string {
	out := make([]byte, 0, 40)
	for i := 0; i < len(s) && len(out) < 40; i++ {
		if c := s[i]; c == '_' || c == '.' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			out = append(out, c)
		}
	}
	return string(out)
}

func status(he mautrix.HTTPError) int {
	if he.Response == nil {
		return 0
	}
	return he.Response.StatusCode
}

// httpStatus gives the status of the answer behind err, 0 where there was none.
func httpStatus(err error) int {
	var he mautrix.HTTPError
	if errors.As(err, &he) {
		return status(he)
	}
	return 0
}

// retryAfter reads how long the homeserver wants to be left alone.
func retryAfter(err error) time.Duration {
	var he mautrix.HTTPError
	if !errors.As(err, &he) {
		return 0
	}
	var d time.Duration
	if he.RespError != nil {
		if ms, ok := he.RespError.ExtraData["retry_after_ms"].(float64); ok && ms > 0 {
			d = time.Duration(min(ms, 86400e3)) * time.Millisecond
		}
	}
	if he.Response != nil {
		if h := he.Response.Header.Get("Retry-After"); h != "" {
			if s, err := strconv.Atoi(h); err == nil && s > 0 {
				d = max(d, time.Duration(min(s, 86400))*time.Second)
			} else if t, err := http.ParseTime(h); err == nil {
				d = max(d, time.Until(t))
			}
		}
	}
	return min(d, 24*time.Hour)
}

// perhapsDone is whether a call that failed may have been carried out all the same.
func perhapsDone(err error) bool {
	var dial *net.OpError
	if err == nil || errors.As(err, &dial) && dial.Op == "dial" {
		return false
	}
	st := httpStatus(err)
	return st < 400 || st >= 500 // also without any answer
}

// sendError says what a failed call means for what is waiting to be sent.
func sendError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e := &bot.SendError{Err: clean(err)}
	st := httpStatus(err)
	switch {
	case errors.Is(err, mautrix.MLimitExceeded) || st == http.StatusTooManyRequests:
		e.Account, e.After = true, retryAfter(err)
		if e.After == 0 {
			e.After = 2 * time.Second
		} else {
			e.After += 2 * time.Millisecond // servers round down, and a moment too early is another refusal
		}
	case hasCode(err, "M_USER_SUSPENDED", "M_RESOURCE_LIMIT_EXCEEDED", "M_CONSENT_NOT_GIVEN", "M_USER_LOCKED"):
		e.Account, e.After = true, 10*time.Minute
	case errors.Is(err, mautrix.MTooLarge) || st == http.StatusRequestEntityTooLarge:
		e.Permanent = true
	case errors.Is(err, mautrix.MForbidden), errors.Is(err, mautrix.MNotFound):
		e.Permanent, e.Gone = true, true
	case hasCode(err, "M_BAD_JSON", "M_NOT_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM", "M_BAD_STATE", "M_UNSUPPORTED_ROOM_VERSION", "M_UNABLE_TO_AUTHORISE_JOIN"):
		e.Permanent = true
	}
	return e
}

func hasCode(err error, codes ...string) bool {
	var he mautrix.HTTPError
	if !errors.As(err, &he) || he.RespError == nil {
		return false
	}
	for _, c := range codes {
		if he.RespError.ErrCode == c {
			return true
		}
	}
	return false
}

// loggedOut tells that the account itself is refused.
func loggedOut(err error) bool {
	return errors.Is(err, mautrix.MUnknownToken) || errors.Is(err, mautrix.MMissingToken) || hasCode(err, "M_USER_DEACTIVATED")
}

// softLogout tells that only the token has ended: the device and its keys are still there.
func softLogout(err error) bool {
	var he mautrix.HTTPError
	if !errors.As(err, &he) || he.RespError == nil {
		return false
	}
	soft, _ := he.RespError.ExtraData["soft_logout"].(bool)
	return soft
}
