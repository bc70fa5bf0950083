package hosted

import (
	"container/list"
	"weak"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// cache has the Clients that were used last.
type cache struct {
	entries map[store.Owner]*list.Element
	ids     map[string]*list.Element // the same, by the owner's ID
	recent  list.List                // of *entry, the one used last first

	// evicted are the Clients that are no longer kept and still in use.
	evicted map[weak.Pointer[handstamp.Client]]struct{}
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

// add keeps a Client, and size of them at most. It returns those that it evicted.
func (c *cache) add(o store.Owner, client *handstamp.Client, size int) (evicted []*handstamp.Client) {
	if c.entries == nil {
		c.entries = make(map[store.Owner]*list.Element)
		c.ids = make(map[string]*list.Element)
		c.evicted = make(map[weak.Pointer[handstamp.Client]]struct{})
	}
	e := c.recent.PushFront(&entry{o, client})
	c.entries[o], c.ids[o.ID()] = e, e
	for c.recent.Len() > size {
		last := c.recent.Remove(c.recent.Back()).(*entry)
		delete(c.entries, last.owner)
		delete(c.ids, last.owner.ID())
		c.evicted[weak.Make(last.client)] = struct{}{}
		evicted = append(evicted, last.client)
	}
	return evicted
}

// all returns the Clients, those that were evicted and are in use as well.
func (c *cache) all() []*handstamp.Client {
	var clients []*handstamp.Client
	for e := c.recent.Front(); e != nil; e = e.Next() {
		clients = append(clients, e.Value.(*entry).client)
	}
	for p := range c.evicted {
		if client := p.Value(); client != nil {
			clients = append(clients, client)
		}
	}
	return clients
}

// peek is get that counts as no use.
func (c *cache) peek(o store.Owner) *handstamp.Client {
	if e := c.entries[o]; e != nil {
		return e.Value.(*entry).client
	}
	return nil
}
