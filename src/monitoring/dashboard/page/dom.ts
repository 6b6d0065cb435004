/** Creates elements. Strings become text nodes, never markup, because names and messages come from untrusted files. */

type Child = Node | string
type Attributes = Readonly<Record<string, string | number | boolean>>

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  return withContent(document.createElement(name), attributes, children)
}

export function drawing<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[Name] {
  return withContent(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children)
}

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/** Replaces the content of an element; the focus stays on the element of the same id. */
export function replaceContent(box: HTMLElement, ...children: readonly Child[]): void {
  const focused = box.contains(document.activeElement) ? document.activeElement?.id : ''
  box.replaceChildren(...children)
  if (focused) document.getElementById(focused)?.focus()
}

function withContent<E extends Element>(created: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) created.setAttribute(name, value === true ? '' : String(value))
  }
  created.append(...children)
  return created
}
