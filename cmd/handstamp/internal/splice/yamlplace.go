package splice

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlPlace is a mapping in a YAML text, and the key that it is the value of.
type yamlPlace struct {
	text  []byte
	value *yaml.Node
	start int // of the key's line; of the root: 0
	key   int // where the key begins
	empty int // behind the {} that is the value; 0: it is none
	root  bool
}

// openYAML returns the root of a document, which is a mapping in block style.
func openYAML(text []byte) (*yamlPlace, error) {
	if odd := strings.ReplaceAll(string(text), "\r\n", "\n"); strings.ContainsAny(odd, "\r\u0085\u2028\u2029") {
		return nil, unsafe("it has line ends of another kind") // to YAML, some are
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, syntax(err)
	}
	root := &yamlPlace{text: text, root: true, value: &yaml.Node{Kind: yaml.MappingNode}}
	if len(document.Content) > 0 && document.Content[0].Tag != "!!null" {
		root.value = document.Content[0]
	}
	return root, root.block()
}

// block returns an error unless the value is a mapping in block style, or nothing.
func (p *yamlPlace) block() error {
	v := p.value
	switch {
	case v.Tag == "!!null" && v.Value == "" && v.Anchor == "" && v.Style == 0:
		p.value = &yaml.Node{Kind: yaml.MappingNode}
		return nil
	case v.Kind != yaml.MappingNode:
		return unsafe("it is no mapping")
	case v.Anchor != "" || v.Style&yaml.TaggedStyle != 0:
		return unsafe("the mapping has an anchor or a tag")
	case v.Style&yaml.FlowStyle != 0:
		return p.braces()
	}
	names := make(map[string]bool)
	for i := 0; i < len(v.Content); i += 2 {
		k := v.Content[i]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || names[k.Value] {
			return unsafe("a key is merged, is there twice, or is no word")
		}
		names[k.Value] = true
	}
	return nil
}

// braces finds the {} that are the value, on the key's line and with nothing between them. Other
// mappings in flow style are left to the user.
func (p *yamlPlace) braces() error {
	line := p.text[p.start:nextLine(p.text, p.start)]
	i := bytes.Index(line, []byte("{}"))
	if p.root || len(p.value.Content) > 0 || i < 0 {
		return unsafe("the mapping is in flow style")
	}
	p.empty = p.start + i + 2
	return nil
}

// find returns a member, or nil.
func (p *yamlPlace) find(name string) *yamlPlace {
	for i := 0; i < len(p.value.Content); i += 2 {
		if p.value.Content[i].Value == name {
			return p.member(i)
		}
	}
	return nil
}

// first returns the first member, or nil.
func (p *yamlPlace) first() *yamlPlace {
	if len(p.value.Content) == 0 {
		return nil
	}
	return p.member(0)
}

func (p *yamlPlace) member(i int) *yamlPlace {
	key := p.value.Content[i]
	start := 0
	for range key.Line - 1 {
		start = nextLine(p.text, start)
	}
	return &yamlPlace{text: p.text, value: p.value.Content[i+1], start: start,
		key: min(start+key.Column-1, len(p.text))}
}

// indent returns what is before the key: white space, or else the outcome is found wrong.
func (p *yamlPlace) indent() string {
	return strings.Repeat(" ", p.key-p.start)
}

// end returns the offset behind the last line of the member: those that are indented more than
// its key. Empty lines and comments at the end are about what follows.
func (p *yamlPlace) end() int {
	end := nextLine(p.text, p.start)
	for i := end; i < len(p.text); {
		next := nextLine(p.text, i)
		line := bytes.TrimRight(p.text[i:next], " \r\n")
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		if len(line) > 0 && line[indent] != '#' {
			if indent <= p.key-p.start {
				break
			}
			end = next
		}
		i = next
	}
	return end
}
