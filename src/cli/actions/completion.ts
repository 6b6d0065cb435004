/** Generates static shell completion scripts from the commands, so that completing a word starts no process. */
import type { Command, Option } from 'commander'

export function completionScript(shell: 'bash' | 'zsh' | 'fish', program: Command): string {
  if (shell === 'fish') return fishScript(program)
  // zsh can run bash completions.
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bashScript(program)}` : bashScript(program)
}

const flagsOf = (command: Command): string[] =>
  command.options.flatMap(option => [option.short, option.long].filter(flag => flag !== undefined && flag !== null))

function bashScript(program: Command): string {
  const name = program.name()
  const cases = program.commands.map(command => `    ${command.name()}) words='${wordsOf(command).join(' ')}' ;;`)
  const values = program.commands.flatMap(command =>
    command.options.filter(hasChoices).map(option => {
      return `    ${command.name()}:${option.long}) words='${option.argChoices!.join(' ')}' ;;`
    }),
  )
  return `_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words=''
  if [ "$COMP_CWORD" -le 1 ]; then
    words='${program.commands.map(command => command.name()).join(' ')} --help --version'
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}:$previous" in
${values.join('\n')}
  esac
  if [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  case "$current" in
    -*) ;;
    *) COMPREPLY+=($(compgen -f -- "$current")) ;;
  esac
}
complete -o filenames -F _${name} ${name}
`
}

const hasChoices = (option: Option): boolean => option.argChoices !== undefined

/** Words to complete after a command: its flags and the choices of its arguments. */
function wordsOf(command: Command): string[] {
  return [...command.registeredArguments.flatMap(argument => argument.argChoices ?? []), ...flagsOf(command), '--help']
}

function fishScript(program: Command): string {
  const name = program.name()
  const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  const commands = program.commands.map(
    command => `complete -c ${name} -n __fish_use_subcommand -f -a ${command.name()} -d ${quoted(command.summary())}`,
  )
  const options = program.commands.flatMap(command => {
    const when = `complete -c ${name} -n ${quoted(`__fish_seen_subcommand_from ${command.name()}`)}`
    const words = command.registeredArguments.flatMap(argument => argument.argChoices ?? [])
    return [
      ...words.map(word => `${when} -f -a ${word}`),
      ...command.options.map(option => {
        const short = option.short == null ? '' : ` -s ${option.short.slice(1)}`
        const value =
          option.argChoices === undefined
            ? option.required
              ? ' -r'
              : ''
            : ` -x -a ${quoted(option.argChoices.join(' '))}`
        return `${when}${short} -l ${option.long?.slice(2)}${value} -d ${quoted(option.description)}`
      }),
    ]
  })
  return `${[...commands, ...options].join('\n')}\n`
}
