package cli

import (
	"os"
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"
)

// quietZone is the margin of a QR code, in modules (ISO/IEC 18004 has four; phones take two).
const quietZone = 2

const qrIndent = "  "

// showQRCode shows a URL as a QR code, if standard error is a terminal that is large enough and has
// the characters for it.
func (a *app) showQRCode(url string) {
	f, ok := a.err.w.(*os.File)
	if !ok || !a.err.terminal || !utf8Locale(a.env) {
		return
	}
	width, height, err := term.GetSize(int(f.Fd()))
	code := qrCode(url)
	if err != nil || len(code) == 0 || len([]rune(code[0]))+len(qrIndent) > width || len(code) > height {
		return
	}
	// Black on white, whatever the colours of the terminal are: some readers take no other.
	for _, line := range code {
		a.err.raw(qrIndent + "\x1b[30;47m" + line + "\x1b[0m")
	}
}

// qrCode returns a text as a QR code of half blocks, two modules to a character; nil if it is too
// long for one.
func qrCode(text string) []string {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil
	}
	blocks := []rune(" ▀▄█")
	var lines []string
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		var line strings.Builder
		for x := -quietZone; x < code.Size+quietZone; x++ {
			block := 0
			if code.Black(x, y) {
				block++
			}
			if code.Black(x, y+1) {
				block += 2
			}
			line.WriteRune(blocks[block])
		}
		lines = append(lines, line.String())
	}
	return lines
}

// utf8Locale reports whether the terminal's characters are UTF-8, as far as the environment tells.
func utf8Locale(env environment) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(env.get(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return os.PathSeparator == '\\' // Windows has no such variables
}
