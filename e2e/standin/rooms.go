package standin

import (
	"errors"
	"slices"
	"strings"
)

// inRoom refuses who is not joined.
func (s *Server) inRoom(in *request) (*room, error) {
	if s.membership(in.Room, in.user) != "join" {
		return nil, forbidden
	}
	return s.rooms[in.Room], nil
}

func createRoom(s *Server, in *request) (any, error) {
	var name, version string
	var invites []string
	var direct bool
	var initial []struct {
		Type     string
		StateKey string `json:"state_key"`
		Content  object
	}
	err := errors.Join(in.arg("name", &name), in.arg("room_version", &version), in.arg("invite", &invites),
		in.arg("is_direct", &direct), in.arg("initial_state", &initial))
	if err != nil {
		return nil, err
	}
	id := s.newRoom(in.user, name, version)
	for _, state := range initial {
		s.put(id, in.user, state.Type, state.StateKey, state.Content)
	}
	for _, user := range invites {
		content := object{"membership": "invite"}
		if direct {
			content["is_direct"] = true
		}
		s.put(id, in.user, "m.room.member", user, content)
	}
	return object{"room_id": id}, nil
}

func join(s *Server, in *request) (any, error) {
	switch s.membership(in.Room, in.user) {
	case "join":
	case "invite":
		s.put(in.Room, in.user, "m.room.member", in.user, object{"membership": "join"})
	default:
		return nil, &refusal{status: 403, code: "M_FORBIDDEN", message: "you are not invited to that room"}
	}
	return object{"room_id": in.Room}, nil
}

func leave(s *Server, in *request) (any, error) {
	if m := s.membership(in.Room, in.user); m != "join" && m != "invite" {
		return nil, forbidden
	}
	s.put(in.Room, in.user, "m.room.member", in.user, object{"membership": "leave"})
	return object{}, nil
}

func invite(s *Server, in *request) (any, error) {
	var user string
	if err := in.arg("user_id", &user); err != nil {
		return nil, err
	}
	if _, err := s.inRoom(in); err != nil {
		return nil, err
	}
	if s.membership(in.Room, user) == "join" {
		return nil, &refusal{status: 403, code: "M_FORBIDDEN", message: "already in the room"}
	}
	s.put(in.Room, in.user, "m.room.member", user, object{"membership": "invite"})
	return object{}, nil
}

func joinedRooms(s *Server, in *request) (any, error) {
	ids := []string{}
	for id := range s.rooms {
		if s.membership(id, in.user) == "join" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return object{"joined_rooms": ids}, nil
}

func joinedMembers(s *Server, in *request) (any, error) {
	r, err := s.inRoom(in)
	if err != nil {
		return nil, err
	}
	joined := object{}
	for key := range r.state {
		if key.kind == "m.room.member" && s.membership(in.Room, key.key) == "join" {
			joined[key.key] = object{"display_name": localpart(key.key)}
		}
	}
	return object{"joined": joined}, nil
}

func allMembers(s *Server, in *request) (any, error) {
	r, err := s.inRoom(in)
	if err != nil {
		return nil, err
	}
	chunk := []object{}
	for _, e := range r.sortedState() {
		if e.Type == "m.room.member" {
			chunk = append(chunk, e.json())
		}
	}
	return object{"chunk": chunk}, nil
}

func wholeState(s *Server, in *request) (any, error) {
	r, err := s.inRoom(in)
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, e := range r.sortedState() {
		all = append(all, e.json())
	}
	return all, nil
}

func getState(s *Server, in *request) (any, error) {
	r, err := s.inRoom(in)
	if err != nil {
		return nil, err
	}
	e := r.state[stateKey{in.Type, in.http.PathValue("key")}]
	if e == nil {
		return nil, notFound
	}
	return e.Content, nil
}

func putState(s *Server, in *request) (any, error) {
	content, err := in.content()
	if err != nil {
		return nil, err
	}
	if _, err := s.inRoom(in); err != nil {
		return nil, err
	}
	return object{"event_id": s.put(in.Room, in.user, in.Type, in.http.PathValue("key"), content).ID}, nil
}

func send(s *Server, in *request) (any, error) {
	content, err := in.content()
	if err != nil {
		return nil, err
	}
	return s.once(in, in.Type, func() *Event {
		return &Event{Room: in.Room, Sender: in.user, Type: in.Type, Content: content, Txn: in.Txn, service: in.service}
	})
}

func redact(s *Server, in *request) (any, error) {
	target := in.http.PathValue("event")
	content, err := in.content()
	if err != nil {
		return nil, err
	}
	return s.once(in, "m.room.redaction", func() *Event {
		for _, e := range s.rooms[in.Room].events {
			if e.ID == target {
				e.Content, e.Redacted = object{}, true
			}
		}
		return &Event{Room: in.Room, Sender: in.user, Type: "m.room.redaction", Content: content, Redacts: target, Txn: in.Txn, service: in.service}
	})
}

// once appends what make returns, unless the same device has used the same transaction id for it before.
func (s *Server) once(in *request, kind string, make func() *Event) (any, error) {
	if _, err := s.inRoom(in); err != nil {
		return nil, err
	}
	txn := strings.Join([]string{in.user, in.device, in.Room, kind, in.Txn}, "\x00")
	if id, again := s.remembered(txn); again && !in.service { // homeservers forget a service's ids when they restart, so none is relied on
		s.stats.Repeated++
		return object{"event_id": id}, nil
	}
	e := s.append(make())
	s.remember(txn, e.ID)
	return object{"event_id": e.ID}, nil
}

func oneEvent(s *Server, in *request) (any, error) {
	r, err := s.inRoom(in)
	if err != nil {
		return nil, err
	}
	for _, e := range r.events {
		if e.ID == in.http.PathValue("event") {
			return e.json(), nil
		}
	}
	return nil, notFound
}

// sortedState is the room's state in the order in which it was set.
func (r *room) sortedState() []*Event {
	all := make([]*Event, 0, len(r.state))
	for _, e := range r.state {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Event) int { return int(a.pos - b.pos) })
	return all
}

// json is the event as clients get it.
func (e *Event) json() object {
	out := object{
		"event_id": e.ID, "room_id": e.Room, "sender": e.Sender, "type": e.Type, "content": e.Content,
		"origin_server_ts": e.At.UnixMilli(), "unsigned": object{},
	}
	if e.StateKey != nil {
		out["state_key"] = *e.StateKey
	}
	if e.Redacts != "" {
		out["redacts"] = e.Redacts
	}
	if e.Txn != "" && !e.service { // a service's id comes back to no device
		out["unsigned"] = object{"transaction_id": e.Txn}
	}
	return out
}
