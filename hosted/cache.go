package hosted

import (
	"container/list"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// cache has the Clients that were used last.
type cache struct {
	entries map[store.Owner]*list.Element
	ids     map[string]*list.Element // the same, by the owner's ID
	recent  list.List                // of *entry, the one used last first
}

// entry is one Client of the cache.
type entry struct {
	owner  store.Owner
	client *handstamp.Client
}

// get returns the Client of a user, or nil.
func (c *cache) get(o store.Owner) *handstamp.Client {
	e := c.entries[o]
	if e == nil {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*entry).client
}

// getID returns the Client of the user with an ID, or nil, and does not count that as a use.
func (c *cache) getID(id string) *handstamp.Client {
	e := c.ids[id]
	if e == nil {
		return nil
	}
	return e.Value.(*entry).client
}

// add keeps a Client, and size of them at most.
func (c *cache) add(o store.Owner, client *handstamp.Client, size int) {
	if c.entries == nil {
		c.entries = make(map[store.Owner]*list.Element)
		c.ids = make(map[string]*list.Element)
	}
	e := c.recent.PushFront(&entry{o, client})
	c.entries[o], c.ids[o.ID()] = e, e
	for c.recent.Len() > size {
		last := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.entries, last.owner)
		delete(c.ids, last.owner.ID())
	}
}

// all returns the Clients.
func (c *cache) all() []*handstamp.Client {
	var clients []*handstamp.Client
	for e := c.recent.Front(); e != nil; e = e.Next() {
		clients = append(clients, e.Value.(*entry).client)
	}
	return clients
}
