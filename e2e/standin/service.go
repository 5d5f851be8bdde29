package standin

import "net/http"

// Service registers an application service by its token: as whoever it names it may act, and no limit holds it up, as on Synapse
// where its registration says rate_limited: false.
func (s *Server) Service(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.services == nil {
		s.services = make(map[string]bool)
	}
	s.services[token] = true
}

// serviceFor tells as whom an application service acts. The lock is held.
func (s *Server) serviceFor(token string, r *http.Request) (session, bool) {
	user := r.URL.Query().Get("user_id")
	if !s.services[token] || s.accounts[user] == nil {
		return session{}, false
	}
	return session{user: user}, true
}
