import { calm, startStorm, runStorm } from "./chaos.ts";
const N=+(process.argv[2]??100);const t0=performance.now();
const kinds:Record<string,number>={};let commits=0,terms=0,confs=0,reads=0,answered=0;const hist:number[]=[];
(globalThis as any).obs=(m:any)=>{kinds[m.kind]=(kinds[m.kind]??0)+1; if(m.kind==="append"&&m.entries.some((e:any)=>e.kind==="config"))confs++;};
for(let seed=1;seed<=N;seed++){ const cc=seed%2===0;
 const c=runStorm({events:2500,confChanges:cc,rots:0,seed,members:cc?5:1+(seed%5),founders:cc?1+(seed%3):1+(seed%5),
 observe:(m:any)=>{kinds[m.kind]=(kinds[m.kind]??0)+1; if(m.kind==="append"&&m.entries.some((e:any)=>e.kind==="config"))confs++;}} as any);
 commits+=c.checker.maxCommit; hist.push(c.checker.maxCommit); terms+=Math.max(...c.members.map(m=>m.up?m.state.term:0));
 for(const r of c.reads.values()){reads++; if(r.answer?.index!==undefined)answered++;}
 try{calm(c)}catch(e){console.log(seed,String(e).slice(0,80))} }
console.log({commits,terms,confs,reads,answered,kinds,ms:performance.now()-t0}, hist.sort((a,b)=>a-b).filter((_,i)=>i%10===0).join());
