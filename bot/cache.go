package bot

import "sync"

// maxPeople bounds how many people the cache holds; rooms are all held, they are few and small.
const maxPeople = 20_000

// cache holds rooms and people as committed. Handlers get copies; a transaction's changes enter it when it commits.
type cache struct {
	mu        sync.RWMutex
	rooms     map[RoomID]*Room
	roomsAt   map[string]RoomID
	people    map[PersonID]*Person
	peopleAt  map[string]PersonID
	hashRoom  func(address string) []byte
	hashHuman func(address string) []byte
}

func newCache(hash func(kind, text string) []byte) *cache {
	c := &cache{
		rooms: map[RoomID]*Room{}, roomsAt: map[string]RoomID{},
		hashRoom:  func(a string) []byte { return hash("room", a) },
		hashHuman: func(a string) []byte { return hash("person", a) },
	}
	c.forgetPeople()
	return c
}

func (c *cache) room(id RoomID) *Room {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.rooms[id]
}

func (c *cache) roomAt(adapter string, hash []byte) (RoomID, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	id, ok := c.roomsAt[adapter+string(hash)]
	return id, ok
}

func (c *cache) person(id PersonID) *Person {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.people[id]
}

func (c *cache) personAt(adapter string, hash []byte) (PersonID, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	id, ok := c.peopleAt[adapter+string(hash)]
	return id, ok
}

func (c *cache) forgetPeople() {
	c.people, c.peopleAt = map[PersonID]*Person{}, map[string]PersonID{}
}

// publish takes over what a committed transaction read and changed.
func (c *cache) publish(rooms map[RoomID]*Room, people map[PersonID]*Person) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range rooms {
		if old := c.rooms[id]; old != nil && old.Address != r.Address {
			if at := old.Adapter + string(c.hashRoom(old.Address)); c.roomsAt[at] == id { // else another room has its place already
				delete(c.roomsAt, at)
			}
		}
		c.rooms[id] = r
		c.roomsAt[r.Adapter+string(c.hashRoom(r.Address))] = id
	}
	if len(c.people)+len(people) > maxPeople {
		c.forgetPeople()
	}
	for id, p := range people {
		if p.Address == "" { // forgotten
			if old := c.people[id]; old != nil {
				delete(c.peopleAt, old.Adapter+string(c.hashHuman(old.Address)))
			}
			delete(c.people, id)
			continue
		}
		c.people[id] = p
		c.peopleAt[p.Adapter+string(c.hashHuman(p.Address))] = id
	}
}
