package standin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A token of this server is "s" and a position in its stream: what stands behind it is still to come.

func token(pos int64) string { return "s" + strconv.FormatInt(pos, 10) }

func position(token string) (int64, error) {
	pos, err := strconv.ParseInt(strings.TrimPrefix(token, "s"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("no token of this server: %w", err)
	}
	return pos, nil
}

// filter is the part of a filter that is honoured.
type filter struct {
	Room struct {
		Timeline struct{ Limit int }
	}
}

// defaultLimit is how many events of a room one sync gives, where the filter does not say.
const defaultLimit = 20

func addFilter(s *Server, in *request) (any, error) {
	var f filter
	if err := in.arg("room", &f.Room); err != nil {
		return nil, err
	}
	account := s.account(in.user)
	id := slices.Index(account.filters, f)
	if id < 0 {
		id = len(account.filters)
		account.filters = append(account.filters, f)
	}
	return object{"filter_id": strconv.Itoa(id)}, nil
}

// syncEvents answers when there is something new, or when the caller's timeout is over.
func syncEvents(s *Server, in *request) (any, error) {
	query := in.http.URL.Query()
	var since int64
	if text := query.Get("since"); text != "" {
		var err error
		if since, err = position(text); err != nil {
			return nil, err
		}
	}
	milliseconds, _ := strconv.Atoi(query.Get("timeout")) // without one: at once
	timer := time.NewTimer(time.Duration(min(milliseconds, 60_000)) * time.Millisecond)
	defer timer.Stop()
	over := since == 0 || milliseconds <= 0
	for {
		s.mu.Lock()
		limit, err := s.limit(in, query.Get("filter"))
		if err != nil {
			s.mu.Unlock()
			return nil, err
		}
		answer, news := s.news(in.session, since, limit)
		changed := s.changed
		s.mu.Unlock()
		if news || over {
			return answer, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-in.http.Context().Done():
			return answer, nil
		}
	}
}

// limit is the timeline limit of a filter, given by id or in full.
func (s *Server) limit(in *request, text string) (int, error) {
	var f filter
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return 0, err
		}
	} else if text != "" {
		id, err := strconv.Atoi(text)
		filters := s.account(in.user).filters
		if err != nil || id < 0 || id >= len(filters) {
			return 0, notFound
		}
		f = filters[id]
	}
	if f.Room.Timeline.Limit <= 0 {
		return defaultLimit, nil
	}
	return f.Room.Timeline.Limit, nil
}

// news is one sync answer, and whether there is anything in it.
func (s *Server) news(who session, since int64, limit int) (object, bool) {
	joined, invited, left := object{}, object{}, object{}
	for id, r := range s.rooms {
		member := r.state[stateKey{"m.room.member", who.user}]
		if member == nil {
			continue
		}
		switch membership := s.membership(id, who.user); {
		case membership == "join":
			if part := r.part(since, limit, member.pos > since); part != nil {
				joined[id] = part
			}
		case member.pos <= since:
			// left or invited before: known already
		case membership == "invite":
			stripped := []object{}
			for _, e := range r.sortedState() {
				stripped = append(stripped, object{"type": e.Type, "state_key": *e.StateKey, "sender": e.Sender, "content": e.Content})
			}
			invited[id] = object{"invite_state": object{"events": stripped}}
		case since > 0:
			left[id] = object{"timeline": object{"events": []object{member.json()}}, "state": object{"events": []object{}}}
		}
	}
	return object{
		"next_batch":                 token(s.pos),
		"rooms":                      object{"join": joined, "invite": invited, "leave": left},
		"device_one_time_keys_count": maps.Clone(s.account(who.user).oneTime),
	}, len(joined)+len(invited)+len(left) > 0
}

// part is what a joined room gives to one sync: nil when nothing is new. Who is fresh gets the whole state and, as on real
// servers, what was said before the join.
func (r *room) part(since int64, limit int, fresh bool) object {
	from := since
	if fresh {
		from = 0
	}
	first := len(r.events)
	for first > 0 && r.events[first-1].pos > from {
		first--
	}
	if first == len(r.events) {
		return nil
	}
	timeline := r.events[max(first, len(r.events)-limit):]
	start := timeline[0].pos
	state, events := []object{}, []object{}
	for _, e := range r.sortedState() {
		if e.pos > from && e.pos < start {
			state = append(state, e.json())
		}
	}
	for _, e := range timeline {
		events = append(events, e.json())
	}
	return object{
		"state":    object{"events": state},
		"timeline": object{"events": events, "limited": len(timeline) < len(r.events)-first, "prev_batch": token(start - 1)},
	}
}

// messages pages through a room: backwards from a token, or forwards.
func messages(s *Server, in *request) (any, error) {
	r, err := s.inRoom(in)
	if err != nil {
		return nil, err
	}
	query := in.http.URL.Query()
	backwards := query.Get("dir") != "f"
	from, to := int64(0), int64(0)
	if backwards {
		from = s.pos
	}
	if text := query.Get("from"); text != "" {
		if from, err = position(text); err != nil {
			return nil, err
		}
	}
	if text := query.Get("to"); text != "" {
		if to, err = position(text); err != nil {
			return nil, err
		}
	}
	limit, _ := strconv.Atoi(query.Get("limit"))
	if limit <= 0 {
		limit = 10
	}
	var found []*Event
	for _, e := range r.events {
		if backwards && e.pos <= from && e.pos > to || !backwards && e.pos > from && (to == 0 || e.pos <= to) {
			found = append(found, e)
		}
	}
	if backwards {
		slices.Reverse(found)
	}
	answer := object{"start": token(from)}
	if len(found) > limit {
		found = found[:limit]
		if last := found[limit-1].pos; backwards {
			answer["end"] = token(last - 1)
		} else {
			answer["end"] = token(last)
		}
	}
	chunk := []object{}
	for _, e := range found {
		chunk = append(chunk, e.json())
	}
	answer["chunk"] = chunk
	return answer, nil
}
