/** Reads the profiles of `~/.aws/credentials` and `~/.aws/config`, with the environment variables that move or select them. */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { toPenstockError } from '../../errors.js'

export type Profile = Readonly<Record<string, string>>

export const profileName = (): string => process.env.AWS_PROFILE || process.env.AWS_DEFAULT_PROFILE || 'default'

const credentialsFile = (): string => process.env.AWS_SHARED_CREDENTIALS_FILE || join(homedir(), '.aws', 'credentials')
const configFile = (): string => process.env.AWS_CONFIG_FILE || join(homedir(), '.aws', 'config')

/** The settings of the selected profile in both files; those of `credentials` win. @throws FILE_UNREADABLE */
export function selectedProfile(): Profile {
  const name = profileName()
  const config = sectionsOf(configFile())
  const credentials = sectionsOf(credentialsFile())
  return { ...(config[`profile ${name}`] ?? config[name]), ...credentials[name] }
}

/** Sections of a file in the INI format, with the indented settings of a service left out; empty for a missing file. */
function sectionsOf(file: string): Readonly<Record<string, Profile>> {
  const sections: Record<string, Record<string, string>> = {}
  let section: Record<string, string> | undefined
  for (const line of linesOf(file)) {
    const header = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line)?.[1]
    if (header !== undefined) {
      sections[header] ??= {}
      section = sections[header]
      continue
    }
    if (/^\s*(?:[#;]|$)/.test(line) || /^\s/.test(line) || section === undefined) continue
    const at = line.indexOf('=')
    if (at > 0) section[line.slice(0, at).trim().toLowerCase()] = line.slice(at + 1).trim()
  }
  return sections
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  }
}

/** Address of the object store; undefined for that of AWS. */
export function endpointOfS3(): string | undefined {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env
  return AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL || selectedProfile().endpoint_url
}
