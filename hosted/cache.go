package hosted

import (
	"slices"
	"weak"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// cache has the Clients that were used lately. What it does at a use is little, since that comes
// with each request: it keeps no order. Whom it evicts has not been used since it was looked at
// before, in a circle.
type cache struct {
	entries map[store.Owner]*entry
	ids     map[string]*entry // the same, by the owner's ID
	circle  []*entry          // the same
	next    int               // the index of the entry that is looked at next

	// evicted are the Clients that are no longer kept and still in use, by their owners' IDs. Whoever
	// looks at one keeps it from the garbage collection under way.
	evicted map[string][]weak.Pointer[handstamp.Client]
}

// entry is one Client of the cache.
type entry struct {
	client handstamp.Client
	used   bool // since it was looked at
	atWork bool // since the database noted who is
	owner  store.Owner
}

// get returns the entry of a user, or nil.
func (c *cache) get(o store.Owner) *entry {
	e := c.entries[o]
	if e != nil {
		e.used = true
	}
	return e
}

// of returns the Clients of the user with an ID, those that were evicted and are in use as well, and
// does not count that as a use.
func (c *cache) of(id string) (clients []*handstamp.Client) {
	if e := c.ids[id]; e != nil {
		clients = append(clients, &e.client)
	}
	return appendAlive(clients, c.evicted[id])
}

// appendAlive appends the Clients that are still in use.
func appendAlive(clients []*handstamp.Client, evicted []weak.Pointer[handstamp.Client]) []*handstamp.Client {
	for _, p := range evicted {
		if client := p.Value(); client != nil {
			clients = append(clients, client)
		}
	}
	return clients
}

// forget forgets a Client that was evicted and that nothing uses any more.
func (c *cache) forget(id string, p weak.Pointer[handstamp.Client]) {
	left := slices.DeleteFunc(c.evicted[id], func(q weak.Pointer[handstamp.Client]) bool { return q == p })
	if c.evicted[id] = left; len(left) == 0 {
		delete(c.evicted, id)
	}
}

// atWork adds the owners of the Clients that were at work to others, and forgets that they were.
func (c *cache) atWork(owners map[store.Owner]struct{}) map[store.Owner]struct{} {
	if owners == nil {
		owners = make(map[store.Owner]struct{}, len(c.circle))
	}
	for _, e := range c.circle {
		if e.atWork {
			owners[e.owner], e.atWork = struct{}{}, false
		}
	}
	return owners
}

// add keeps a Client, and size of them at most. It returns the one that it evicted, or nil.
func (c *cache) add(e *entry, size int) (evicted *entry) {
	if c.entries == nil {
		c.entries, c.ids = make(map[store.Owner]*entry), make(map[string]*entry)
		c.evicted = make(map[string][]weak.Pointer[handstamp.Client])
	}
	c.entries[e.owner], c.ids[e.owner.ID()] = e, e
	if len(c.circle) < size {
		c.circle = append(c.circle, e)
		return nil
	}
	for c.circle[c.next].used {
		c.circle[c.next].used = false
		c.next = (c.next + 1) % size
	}
	last := c.circle[c.next]
	c.circle[c.next] = e
	c.next = (c.next + 1) % size
	delete(c.entries, last.owner)
	delete(c.ids, last.owner.ID())
	c.evicted[last.owner.ID()] = append(c.evicted[last.owner.ID()], weak.Make(&last.client))
	return last
}

// all returns the Clients, those that were evicted and are in use as well.
func (c *cache) all() []*handstamp.Client {
	var clients []*handstamp.Client
	for _, e := range c.circle {
		clients = append(clients, &e.client)
	}
	for _, evicted := range c.evicted {
		clients = appendAlive(clients, evicted)
	}
	return clients
}

// peek returns the Client of a user, or nil, and does not count that as a use.
func (c *cache) peek(o store.Owner) *handstamp.Client {
	if e := c.entries[o]; e != nil {
		return &e.client
	}
	return nil
}
