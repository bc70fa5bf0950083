package main

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strings"
)

// The measures of the picture, in pixels.
const (
	fontSize   = 13
	charWidth  = 7.8
	lineHeight = 18
	margin     = 16
	titleBar   = 30
)

// colors are those of the styles that the command selects, on a dark ground.
var colors = map[string]string{
	"1": `font-weight="bold"`, "2": `fill="#8b949e"`, "31": `fill="#ff7b72"`, "32": `fill="#3fb950"`, "33": `fill="#d29922"`,
}

var style = regexp.MustCompile("\x1b\\[(\\d+)m([^\x1b]*)\x1b\\[0m")

// draw returns a picture of a terminal with a text.
func draw(title, text string) []byte {
	lines := strings.Split(text, "\n")
	widest := len(title)
	for _, line := range lines {
		widest = max(widest, len([]rune(plain(line))))
	}
	width := int(float64(widest)*charWidth) + 2*margin
	height := titleBar + len(lines)*lineHeight + 2*margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%[3]s">
<title>%[3]s</title>
<rect width="%[1]d" height="%[2]d" rx="8" fill="#0d1117"/>
<circle cx="18" cy="15" r="5" fill="#ff5f57"/><circle cx="34" cy="15" r="5" fill="#febc2e"/><circle cx="50" cy="15" r="5" fill="#28c840"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="%[4]d" fill="#e6edf3">
`, width, height, html.EscapeString(title), fontSize)
	for i, line := range lines {
		if line != "" {
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\">%s</text>\n", margin, titleBar+margin+i*lineHeight, styled(line))
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.Bytes()
}

// plain returns a line without its styles.
func plain(line string) string { return style.ReplaceAllString(line, "$2") }

// escape returns a text whose spaces are kept: renderers differ on xml:space.
func escape(text string) string {
	return strings.ReplaceAll(html.EscapeString(text), " ", "\u00a0")
}

// styled returns a line as the content of a text element.
func styled(line string) string {
	if strings.HasPrefix(line, "$ ") {
		return `<tspan fill="#79c0ff" font-weight="bold">` + escape(line) + "</tspan>"
	}
	var b strings.Builder
	for {
		at := style.FindStringSubmatchIndex(line)
		if at == nil {
			b.WriteString(escape(line))
			return b.String()
		}
		b.WriteString(escape(line[:at[0]]))
		fmt.Fprintf(&b, "<tspan %s>%s</tspan>", colors[line[at[2]:at[3]]], escape(line[at[4]:at[5]]))
		line = line[at[1]:]
	}
}
