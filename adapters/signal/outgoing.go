package signal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"starling/bot"
	"starling/locales/markup"
)

const (
	sendFor = time.Minute
	// linkFor is how long a call waits for signal-cli to be there.
	linkFor = 20 * time.Second
)

// address says to whom a call goes.
func (a *Adapter) address(params map[string]any, room string) {
	if IsPerson(room) {
		params["recipient"] = []string{room}
	} else {
		params["groupId"] = room
	}
}

// Send implements bot.Adapter.
func (a *Adapter) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	method, params, err := request(out)
	if err != nil {
		return "", &bot.SendError{Err: err, Permanent: true}
	}
	if method == "" {
		return "", nil
	}
	if method == "quitGroup" {
		params["groupId"] = out.Room
	} else {
		a.address(params, out.Room)
	}
	if until := a.refusedUntil(); time.Now().Before(until) {
		return "", &bot.SendError{Err: errLimited, Account: true, After: a.lookAfter(time.Until(until))}
	}
	waiting, cancel := context.WithTimeout(ctx, linkFor)
	l, err := a.linked(waiting)
	cancel()
	if err != nil {
		return "", &bot.SendError{Err: errDown, Account: true, After: 5 * time.Second}
	}
	var answer sendAnswer
	err = a.ask(ctx, l, method, params, &answer)
	if out.Kind == bot.OutLeave && ignoreRefusal(err) == nil {
		a.placed(ctx, out.Room, answer.Results, err)
		return "", a.gone(ctx, out.Room) // signal-cli does not tell it
	}
	if err != nil {
		return "", a.failed(ctx, out, err)
	}
	if err := a.read(ctx, out, answer.Results); err != nil {
		return "", err
	}
	a.leftNow()
	return messageID(answer.Timestamp, a.self()), nil
}

// request makes a call of what is to be said; an empty method is nothing to do.
func request(out bot.Outgoing) (method string, params map[string]any, err error) {
	params = map[string]any{}
	target, author := int64(0), ""
	if out.Target != "" {
		var ok bool
		if target, author, ok = parseID(out.Target); !ok {
			return "", nil, errors.New("that is no message on Signal")
		}
	}
	switch out.Kind {
	case bot.OutMessage, bot.OutEdit:
		params["message"], params["textStyle"] = styled(out.Text)
		if at, by, ok := parseID(out.ReplyTo); ok && out.Kind == bot.OutMessage {
			// Phones show what was quoted from their own memory; the bot has none.
			params["quoteTimestamp"], params["quoteAuthor"], params["quoteMessage"] = at, by, ""
		}
		if out.Kind == bot.OutEdit {
			params["editTimestamp"] = target
		}
		return "send", params, nil
	case bot.OutReaction:
		params["emoji"], params["targetAuthor"], params["targetTimestamp"] = out.Text, author, target
		return "sendReaction", params, nil
	case bot.OutDelete:
		params["targetTimestamp"] = target
		return "remoteDelete", params, nil
	case bot.OutFile:
		f := out.File
		if f == nil {
			return "", nil, errors.New("a file without a file")
		}
		params["message"] = f.Description
		params["attachment"] = []string{fmt.Sprintf("data:%s;filename=%s;base64,%s", mediaType(f.Type), fileName(f.Name), base64.StdEncoding.EncodeToString(f.Data))}
		return "send", params, nil
	case bot.OutLeave:
		if IsPerson(out.Room) {
			return "", nil, nil // one does not leave a person
		}
		return "quitGroup", params, nil
	}
	return "", nil, fmt.Errorf("the Signal adapter cannot send %q", out.Kind)
}

// styled is a text as Signal shows it: plain, with styles beside it.
func styled(text string) (string, []string) {
	names := map[markup.Kind]string{markup.Bold: "BOLD", markup.Italic: "ITALIC", markup.Code: "MONOSPACE"}
	plain, styles := markup.Styles(markup.Parse(text))
	all := []string{}
	for _, s := range styles {
		if name := names[s.Kind]; name != "" {
			all = append(all, fmt.Sprintf("%d:%d:%s", s.Start, s.Length, name))
		}
	}
	return plain, all
}

// A data URI ends its parts with these.
func mediaType(s string) string {
	if s == "" || strings.ContainsAny(s, ";, \n") {
		return "application/octet-stream"
	}
	return s
}

func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(";,/\\\n", r) {
			return '_'
		}
		return r
	}, s)
}

// SentAt implements bot.Dated: an id is the time of a message and who sent it.
func (a *Adapter) SentAt(id string) (at time.Time, own bool) {
	stamp, author, _ := strings.Cut(id, ".")
	ms, err := strconv.ParseInt(stamp, 10, 64)
	return time.UnixMilli(ms), err == nil && author != "" && author == a.self()
}
