import {kernelModule} from './dist/stages/kernel-module.js'
import {supportsKernel} from './dist/tokenizer/kernel.js'
import {loadTokenizer} from './dist/tokenizer/tokenizer.js'
import fs from 'fs'
console.log(supportsKernel())
const j=fs.readFileSync('/work/shared/reference/hf_gpt2/tokenizer.json','utf8')
let t=performance.now();const k=loadTokenizer(j,{wasm:kernelModule()});console.log('load',performance.now()-t,k.how)
t=performance.now();const ts=loadTokenizer(j);console.log('load ts',performance.now()-t,ts.how)
console.log(k.encode("Hello world, it's me"),ts.encode("Hello world, it's me"))
