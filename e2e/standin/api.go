package standin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// request is one call under way.
type request struct {
	Call
	session
	http *http.Request
	body map[string]json.RawMessage

	service bool // an application service makes it
}

// refusal is an error answer of the client-server API.
type refusal struct {
	status  int
	code    string
	message string
	after   time.Duration // retry_after_ms
	limited bool          // by Limit
	pause   time.Duration // before it is said
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

var (
	notFound  = &refusal{status: http.StatusNotFound, code: "M_NOT_FOUND", message: "no such thing"}
	forbidden = &refusal{status: http.StatusForbidden, code: "M_FORBIDDEN", message: "you are not in that room"}
)

// handler answers a call, with the server's lock held, except for sync, which takes it itself.
type handler func(*Server, *request) (any, error)

// routes is the part of the client-server API that is served: operation, method, path, handler.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, route := range []struct {
		op, pattern string
		open        bool // needs no access token
		handle      handler
	}{
		{"versions", "GET /_matrix/client/versions", true, versions},
		{"login", "GET v3/login", true, loginFlows},
		{"login", "POST v3/login", true, login},
		{"whoami", "GET v3/account/whoami", false, whoami},
		{"capabilities", "GET v3/capabilities", false, nothing},
		{"filter", "POST v3/user/{user}/filter", false, addFilter},
		{"sync", "GET v3/sync", false, syncEvents},
		{"account_data", "GET v3/user/{user}/account_data/{type}", false, getAccountData},
		{"account_data", "PUT v3/user/{user}/account_data/{type}", false, putAccountData},
		{"account_data", "GET v3/user/{user}/rooms/{room}/account_data/{type}", false, getAccountData},
		{"account_data", "PUT v3/user/{user}/rooms/{room}/account_data/{type}", false, putAccountData},
		{"createRoom", "POST v3/createRoom", false, createRoom},
		{"join", "POST v3/join/{room}", false, join},
		{"join", "POST v3/rooms/{room}/join", false, join},
		{"leave", "POST v3/rooms/{room}/leave", false, leave},
		{"forget", "POST v3/rooms/{room}/forget", false, nothing},
		{"invite", "POST v3/rooms/{room}/invite", false, invite},
		{"rooms", "GET v3/joined_rooms", false, joinedRooms},
		{"members", "GET v3/rooms/{room}/joined_members", false, joinedMembers},
		{"members", "GET v3/rooms/{room}/members", false, allMembers},
		{"getState", "GET v3/rooms/{room}/state", false, wholeState},
		{"getState", "GET v3/rooms/{room}/state/{type}", false, getState},
		{"getState", "GET v3/rooms/{room}/state/{type}/{key...}", false, getState},
		{"state", "PUT v3/rooms/{room}/state/{type}", false, putState},
		{"state", "PUT v3/rooms/{room}/state/{type}/{key...}", false, putState},
		{"send", "PUT v3/rooms/{room}/send/{type}/{txn}", false, send},
		{"redact", "PUT v3/rooms/{room}/redact/{event}/{txn}", false, redact},
		{"messages", "GET v3/rooms/{room}/messages", false, messages},
		{"event", "GET v3/rooms/{room}/event/{event}", false, oneEvent},
		{"typing", "PUT v3/rooms/{room}/typing/{user}", false, nothing},
		{"receipt", "POST v3/rooms/{room}/receipt/{type}/{event}", false, nothing},
		{"receipt", "POST v3/rooms/{room}/read_markers", false, nothing},
		{"profile", "GET v3/profile/{user}", false, nothing},
		{"profile", "PUT v3/profile/{user}/{field}", false, nothing},
		{"presence", "PUT v3/presence/{user}/status", false, nothing},
		{"device", "GET v3/devices", false, devices},
		{"device", "PUT v3/devices/{device}", false, nothing},
		{"keys", "POST v3/keys/upload", false, uploadKeys},
		{"keys", "POST v3/keys/query", false, queryKeys},
		{"keys", "POST v3/keys/claim", false, claimKeys},
		{"keys", "GET v3/keys/changes", false, nothing},
		{"keys", "POST v3/keys/device_signing/upload", false, uploadCrossSigning},
		{"keys", "POST v3/keys/signatures/upload", false, uploadSignatures},
		{"toDevice", "PUT v3/sendToDevice/{type}/{txn}", false, nothing},
	} {
		mux.HandleFunc(strings.Replace(route.pattern, " v3/", " /_matrix/client/v3/", 1), func(w http.ResponseWriter, r *http.Request) {
			s.serve(w, r, route.op, route.open, route.handle)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.stats.Unknown[r.Method+" "+r.URL.Path]++
		s.mu.Unlock()
		reply(w, nil, &refusal{status: http.StatusNotFound, code: "M_UNRECOGNIZED", message: "not served here"})
	})
	return mux
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// serve takes a call through what is the same for all: who calls, faults, delay, rate limit, the answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, op string, open bool, handle handler) {
	in := &request{http: r, Call: Call{Op: op, Room: r.PathValue("room"), Type: r.PathValue("type"), Txn: r.PathValue("txn")}}
	s.mu.Lock()
	s.stats.Calls[op]++
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	known := false
	if in.session, known = s.tokens[token]; !known {
		in.session, known = s.serviceFor(token, r)
		in.service = known
	}
	in.Call.User = in.session.user
	delay, broken := s.options.Delay+s.slow[in.Room], s.options.Fault
	if op != "sync" {
		s.flying++
		s.stats.InFlight = max(s.stats.InFlight, s.flying)
		defer func() {
			s.mu.Lock()
			s.flying--
			s.mu.Unlock()
		}()
	}
	s.mu.Unlock()

	var fault Fault
	if broken != nil {
		fault = broken(in.Call)
	}
	if pause(r.Context(), delay+fault.Delay) != nil {
		return // the caller is gone
	}
	switch {
	case fault.breaks() && !fault.Done:
		fault.answer(w, nil)
		return
	case !known && !open:
		reply(w, nil, &refusal{status: http.StatusUnauthorized, code: "M_UNKNOWN_TOKEN", message: "log in first"})
		return
	}
	if r.Method != http.MethodGet {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			reply(w, nil, &refusal{status: http.StatusRequestEntityTooLarge, code: "M_TOO_LARGE", message: err.Error()})
			return
		}
		if len(data) > 0 && json.Unmarshal(data, &in.body) != nil {
			reply(w, nil, &refusal{status: http.StatusBadRequest, code: "M_NOT_JSON", message: "the body is not a JSON object"})
			return
		}
	}
	answer, err := s.answer(in, handle)
	var refused *refusal
	if errors.As(err, &refused) && pause(r.Context(), refused.pause) != nil {
		return
	}
	if err == nil && fault.breaks() {
		fault.answer(w, answer)
		return
	}
	reply(w, answer, err)
}

// answer is what the caller gets in place of the right one.
func (f Fault) answer(w http.ResponseWriter, right any) {
	switch {
	case f.Cut == Silently:
		panic(http.ErrAbortHandler)
	case f.Cut == Midway:
		data, _ := json.Marshal(right) // as reply does
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case f.Body == "":
		reply(w, nil, &refusal{status: f.Status, code: "M_UNKNOWN", message: http.StatusText(f.Status)})
	default:
		w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, f.Body)
	}
}

// answer runs the handler, under the rate limit where there is one.
func (s *Server) answer(in *request, handle handler) (any, error) {
	if in.Op == "sync" {
		return handle(s, in)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.options.Limit; l.Rate > 0 && !in.service && (in.Op == "send" || in.Op == "redact" || in.Op == "state") {
		if wait, ok := s.account(in.user).meter.take(s.now(), l); !ok {
			s.stats.Limited++
			return nil, &refusal{status: http.StatusTooManyRequests, code: "M_LIMIT_EXCEEDED", message: "too many requests", after: wait, limited: true, pause: l.Pause}
		}
	}
	return handle(s, in)
}

// pause waits as long as a call is to take.
func pause(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func reply(w http.ResponseWriter, answer any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var refused *refusal
		if !errors.As(err, &refused) {
			refused = &refusal{status: http.StatusBadRequest, code: "M_BAD_JSON", message: err.Error()}
		}
		body := map[string]any{"errcode": refused.code, "error": refused.message}
		if refused.limited {
			body["retry_after_ms"] = refused.after.Milliseconds()
		}
		w.WriteHeader(refused.status)
		answer = body
	}
	_ = json.NewEncoder(w).Encode(answer) // the caller may be gone
}

// arg reads one field of the body.
func (in *request) arg(name string, into any) error {
	raw, ok := in.body[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("field %s: %w", name, err)
	}
	return nil
}

// content is the whole body, as an event's content.
func (in *request) content() (map[string]any, error) {
	content := make(map[string]any, len(in.body))
	for key, raw := range in.body {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, err
		}
		content[key] = value
	}
	return content, nil
}

type object = map[string]any

func nothing(*Server, *request) (any, error) { return object{}, nil }

func versions(*Server, *request) (any, error) {
	return object{"versions": []string{"v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11"}}, nil
}

func loginFlows(*Server, *request) (any, error) {
	return object{"flows": []object{{"type": "m.login.password"}}}, nil
}

func login(s *Server, in *request) (any, error) {
	var identifier struct{ User string }
	var password, device string
	if err := errors.Join(in.arg("identifier", &identifier), in.arg("password", &password), in.arg("device_id", &device)); err != nil {
		return nil, err
	}
	user := identifier.User
	if !strings.HasPrefix(user, "@") {
		user = "@" + user + ":" + Name
	}
	account := s.accounts[user]
	if account == nil || account.password != password {
		return nil, &refusal{status: http.StatusForbidden, code: "M_FORBIDDEN", message: "wrong name or password"}
	}
	s.number++
	if device == "" {
		device = fmt.Sprintf("DEVICE%d", s.number)
	}
	token := fmt.Sprintf("token%d", s.number)
	s.tokens[token] = session{user, device}
	return object{"user_id": user, "device_id": device, "access_token": token}, nil
}

// devices lists those of the account that are logged in.
func devices(s *Server, in *request) (any, error) {
	all := []object{}
	for _, one := range s.tokens {
		if one.user == in.user {
			all = append(all, object{"device_id": one.device})
		}
	}
	return object{"devices": all}, nil
}

func whoami(_ *Server, in *request) (any, error) {
	return object{"user_id": in.user, "device_id": in.device, "is_guest": false}, nil
}

func getAccountData(s *Server, in *request) (any, error) {
	data, ok := s.account(in.user).data[in.Room+in.Type]
	if !ok {
		return nil, notFound
	}
	return data, nil
}

func putAccountData(s *Server, in *request) (any, error) {
	data, err := json.Marshal(in.body)
	if err != nil {
		return nil, err
	}
	s.account(in.user).data[in.Room+in.Type] = data
	return object{}, nil
}
